SUMMARY = "Commissions the keys of a device's HSM and tries its connection"
DESCRIPTION = "Initialises tokens, makes keys and certificate requests, and connects to an MQTT broker with a key that \
stays in the HSM; through tedge-p11-server or straight on a PKCS#11 module."

require tedge-hsm-cargo.inc

inherit bash-completion systemd

do_install() {
    tedge_hsm_install cli
}

# The timer looks whether the certificate is to be renewed. A product that has an EST server says "enable" here, and
# brings /etc/tedge-hsm/renew.conf.
SYSTEMD_PACKAGES = "${PN}-renew ${PN}-enroll"
# It does nothing without /etc/tedge-hsm/enroll.conf, which TEDGE_HSM_ENROLL brings (tedge-hsm-provision).
SYSTEMD_SERVICE:${PN}-enroll = "tedge-hsm-enroll.service"
SYSTEMD_AUTO_ENABLE:${PN}-enroll = "enable"
SYSTEMD_SERVICE:${PN}-renew = "tedge-hsm-renew.timer tedge-hsm-renew.service"
SYSTEMD_AUTO_ENABLE ?= "disable"

PACKAGE_BEFORE_PN += "${PN}-renew ${PN}-enroll ${PN}-zsh-completion ${PN}-fish-completion"
FILES:${PN}-zsh-completion += "${datadir}/zsh"
FILES:${PN}-fish-completion += "${datadir}/fish"
FILES:${PN}-enroll += "${nonarch_libdir}/tmpfiles.d"
RDEPENDS:${PN}-enroll = "tedge-hsm tedge-p11-server"
# The signer's package makes the user that it runs as.
RDEPENDS:${PN}-renew = "tedge-hsm tedge-p11-server"
