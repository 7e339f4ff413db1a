SUMMARY = "Bridges the local MQTT broker to one that asks for the HSM's key"
DESCRIPTION = "Connects the device's broker with a remote one over TLS, where the private key stays in the HSM behind \
tedge-p11-server."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-cargo.inc

inherit systemd useradd features_check

REQUIRED_DISTRO_FEATURES = "systemd"

DIST = "${S}/dist/tedge-hsm-bridge"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${DIST}/*.service ${D}${systemd_system_unitdir}
    for kind in sysusers tmpfiles; do
        file=${DIST}/tedge-hsm-bridge.$kind
        [ ! -e $file ] || install -D -m 0644 $file ${D}${nonarch_libdir}/$kind.d/tedge-hsm-bridge.conf
    done
    for page in ${DIST}/*.[58]; do
        [ ! -e $page ] || install -D -m 0644 $page ${D}${mandir}/man${page##*.}/$(basename $page)
    done
}

# It has no cloud to talk to until the device is enrolled, or a product appends to tedge-hsm-bridge-conf and says "enable"
# here.
SYSTEMD_SERVICE:${PN} = "tedge-hsm-bridge.service"
SYSTEMD_AUTO_ENABLE ?= "${@'enable' if d.getVar('TEDGE_HSM_ENROLL') else 'disable'}"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system tedge; --system tedge-hsm-bridge"
USERADD_PARAM:${PN} = "--system --gid tedge-hsm-bridge --groups tedge --home-dir / --no-create-home \
--shell /sbin/nologin tedge-hsm-bridge"

FILES:${PN} += "${nonarch_libdir}/sysusers.d ${nonarch_libdir}/tmpfiles.d"
RDEPENDS:${PN} = "tedge-p11-server virtual-tedge-hsm-bridge-conf"
