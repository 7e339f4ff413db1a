SUMMARY = "Bridges the local MQTT broker to one that asks for the HSM's key"
DESCRIPTION = "Connects the device's broker with a remote one over TLS, where the private key stays in the HSM behind \
tedge-p11-server."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-cargo.inc

inherit systemd useradd features_check

REQUIRED_DISTRO_FEATURES = "systemd"

do_install() {
    tedge_hsm_install bridge
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
