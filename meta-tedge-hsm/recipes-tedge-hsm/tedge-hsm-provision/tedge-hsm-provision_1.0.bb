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

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${systemd_system_unitdir}/tedge-p11-server.service.d ${D}${sysconfdir}/tedge-hsm
    sed 's,/usr/bin,${bindir},' ${UNPACKDIR}/tedge-hsm-provision.service \
        > ${D}${systemd_system_unitdir}/tedge-hsm-provision.service
    ln -s ${nonarch_libdir}/tedge-p11-server/sealed-pin.conf ${D}${systemd_system_unitdir}/tedge-p11-server.service.d
    sed -e 's/@TOKEN@/${TEDGE_HSM_TOKEN}/' -e 's/@KEY@/${TEDGE_HSM_KEY}/' -e 's/@KEY_TYPE@/${TEDGE_HSM_KEY_TYPE}/' \
        -e 's/@COMMON_NAME@/${TEDGE_HSM_COMMON_NAME}/' \
        -e 's/@CERTIFICATE@/${@d.getVar('TEDGE_HSM_PROVISION') or 'csr'}/' \
        ${UNPACKDIR}/tedge-hsm-provision.conf.in > ${D}${sysconfdir}/tedge-hsm/provision.conf
}

# Where older versions had the settings, user tedge may have put something in their place: only root's own is taken.
pkg_postinst:${PN}() {
    old=$D${sysconfdir}/tedge/tedge-hsm-provision.conf
    if [ -f "$old" ] && [ ! -L "$old" ] && [ "$(stat -c %u "$old")" = 0 ]; then
        mv "$old" $D${sysconfdir}/tedge-hsm/provision.conf
    fi
}

SYSTEMD_SERVICE:${PN} = "tedge-hsm-provision.service"
SYSTEMD_AUTO_ENABLE ?= "${@'enable' if d.getVar('TEDGE_HSM_PROVISION') else 'disable'}"

FILES:${PN} += "${systemd_system_unitdir}/tedge-p11-server.service.d"
CONFFILES:${PN} = "${sysconfdir}/tedge-hsm/provision.conf"
# systemd-extra-utils has systemd-creds.
RDEPENDS:${PN} = "systemd-extra-utils tedge-hsm tedge-p11-server"
