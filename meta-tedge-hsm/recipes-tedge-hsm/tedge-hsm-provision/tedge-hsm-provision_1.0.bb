SUMMARY = "Initialises the HSM at the first boot: token, PIN, key, certificate request"
DESCRIPTION = "A service that runs once: it makes PINs at random, seals them, initialises the token, makes a key and writes \
what commissioning needs. Off unless TEDGE_HSM_PROVISION asks for it."
SECTION = "security"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/files/common-licenses/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
CVE_PRODUCT = "tedge-hsm:${BPN}"

SRC_URI = "\
    file://tedge-hsm-provision.service \
    file://tedge-hsm-provision.conf.in \
    file://state.mount.in \
"

inherit systemd features_check tedge_hsm_kinds

REQUIRED_DISTRO_FEATURES = "systemd"
INHIBIT_DEFAULT_DEPS = "1"
S = "${UNPACKDIR}"
# The HSM is the machine's.
PACKAGE_ARCH = "${MACHINE_ARCH}"

# Label and type of the key, and the device's name in the certificate, where %m is the machine id.
TEDGE_HSM_KEY ?= "tls"
TEDGE_HSM_KEY_TYPE ?= "p256"
TEDGE_HSM_COMMON_NAME ?= "%m"
# Whether the PIN is sealed, and where all that must outlive an update is, if /var/lib does not.
TEDGE_HSM_SEAL ?= "1"
TEDGE_HSM_STATE_DIR ?= ""
# What tedge-hsm enroll is called with at the first boot, cloud and options; empty: not at all.
TEDGE_HSM_ENROLL ?= ""

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${systemd_system_unitdir}/tedge-p11-server.service.d ${D}${sysconfdir}/tedge-hsm
    sed 's,/usr/bin,${bindir},' ${UNPACKDIR}/tedge-hsm-provision.service \
        > ${D}${systemd_system_unitdir}/tedge-hsm-provision.service
    if ${@bb.utils.to_boolean(d.getVar('TEDGE_HSM_SEAL')) and 'true' or 'false'}; then
        ln -s ${nonarch_libdir}/tedge-p11-server/sealed-pin.conf ${D}${systemd_system_unitdir}/tedge-p11-server.service.d
    fi
    sed -e 's/@TOKEN@/${TEDGE_HSM_TOKEN}/' -e 's/@KEY@/${TEDGE_HSM_KEY}/' -e 's/@KEY_TYPE@/${TEDGE_HSM_KEY_TYPE}/' \
        -e 's/@COMMON_NAME@/${TEDGE_HSM_COMMON_NAME}/' \
        -e 's/@CERTIFICATE@/${@d.getVar('TEDGE_HSM_PROVISION') or 'csr'}/' \
        -e 's/@SEAL@/${@bb.utils.to_boolean(d.getVar('TEDGE_HSM_SEAL')) and 'yes' or 'no'}/' \
        ${UNPACKDIR}/tedge-hsm-provision.conf.in > ${D}${sysconfdir}/tedge-hsm/provision.conf
    # In quotes, as an option may be a URL with characters that mean something to the shell; none is a quote.
    enroll='${@' '.join(d.getVar('TEDGE_HSM_ENROLL').split())} '
    if [ "$enroll" != ' ' ]; then
        bridge=${localstatedir}/lib/tedge-hsm-enroll/tedge-hsm-bridge.toml
        printf '%s\n' "CLOUD=${enroll%% *}" "OPTIONS=--bridge $bridge ${enroll#* }" \
            > ${D}${sysconfdir}/tedge-hsm/enroll.conf
        install -d ${D}${systemd_system_unitdir}/tedge-hsm-bridge.service.d
        # The unit of the enrolment may not write in /etc.
        printf '%s\n' '[Service]' ExecStart= "ExecStart=${bindir}/tedge-hsm-bridge --config $bridge" \
            > ${D}${systemd_system_unitdir}/tedge-hsm-bridge.service.d/enroll.conf
    fi
    if [ -n "${TEDGE_HSM_STATE_DIR}" ]; then
        install -d ${D}${systemd_system_unitdir}/local-fs.target.requires
        for name in tedge-hsm tedge-p11-server; do
            # As systemd-escape has it.
            unit="var-lib-$(echo $name | sed 's/-/\\x2d/g').mount"
            sed -e "s,@WHERE@,${localstatedir}/lib/$name," -e "s,@WHAT@,${TEDGE_HSM_STATE_DIR}/$name," \
                ${UNPACKDIR}/state.mount.in > "${D}${systemd_system_unitdir}/$unit"
            ln -s "../$unit" ${D}${systemd_system_unitdir}/local-fs.target.requires/
            # A read-only root has no other time to make them.
            install -d ${D}${localstatedir}/lib/$name
        done
    fi
}

SYSTEMD_SERVICE:${PN} = "tedge-hsm-provision.service"
SYSTEMD_AUTO_ENABLE ?= "${@'enable' if d.getVar('TEDGE_HSM_PROVISION') else 'disable'}"

FILES:${PN} += "${systemd_system_unitdir} ${localstatedir}/lib"
CONFFILES:${PN} = "${sysconfdir}/tedge-hsm/provision.conf ${sysconfdir}/tedge-hsm/enroll.conf"
# systemd-extra-utils has systemd-creds.
RDEPENDS:${PN} = "${@'tedge-hsm-enroll' if d.getVar('TEDGE_HSM_ENROLL') else ''} systemd-extra-utils tedge-hsm tedge-p11-server"
