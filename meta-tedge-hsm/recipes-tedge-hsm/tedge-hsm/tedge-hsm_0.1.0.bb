SUMMARY = "Commissions the keys of a device's HSM and tries its connection"
DESCRIPTION = "Initialises tokens, makes keys and certificate requests, and connects to an MQTT broker with a key that \
stays in the HSM; through tedge-p11-server or straight on a PKCS#11 module."

require tedge-hsm-cargo.inc

inherit bash-completion

DIST = "${S}/rust/tedge-hsm/dist"

# Written by cargo test, since what is cross-compiled can't be asked for them here.
do_install:append() {
    install -d ${D}${mandir}/man1 ${D}${datadir}/bash-completion/completions \
        ${D}${datadir}/zsh/site-functions ${D}${datadir}/fish/vendor_completions.d
    [ ! -d ${DIST} ] || (
        install -m 0644 ${DIST}/man/*.1 ${D}${mandir}/man1
        install -m 0644 ${DIST}/bash/* ${D}${datadir}/bash-completion/completions
        install -m 0644 ${DIST}/zsh/* ${D}${datadir}/zsh/site-functions
        install -m 0644 ${DIST}/fish/* ${D}${datadir}/fish/vendor_completions.d
    )
}

PACKAGE_BEFORE_PN = "${PN}-zsh-completion ${PN}-fish-completion"
FILES:${PN}-zsh-completion = "${datadir}/zsh"
FILES:${PN}-fish-completion = "${datadir}/fish"
