SUMMARY = "udev rules for HSMs, with the groups that they name"
DESCRIPTION = "Who may use a TPM, a TEE, YubiKeys and Nitrokeys: the signer, OP-TEE's supplicant and pcscd, not everybody."
SECTION = "security"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/files/common-licenses/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
CVE_PRODUCT = "tedge-hsm:${BPN}"

SRC_URI = "file://70-tedge-hsm.rules.in"

inherit allarch useradd

INHIBIT_DEFAULT_DEPS = "1"
S = "${UNPACKDIR}"

# optee-client's, which a product may change.
TEE_GROUP_NAME ?= "tee"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${nonarch_libdir}/udev/rules.d
    sed 's/@TEE_GROUP_NAME@/${TEE_GROUP_NAME}/' ${UNPACKDIR}/70-tedge-hsm.rules.in \
        > ${D}${nonarch_libdir}/udev/rules.d/70-tedge-hsm.rules
}

# tpm2-tss and optee-client make the first three as well. Newer pcsc-lite has its daemon run as pcscd, and
# nobody else makes that user.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system tss; --system ${TEE_GROUP_NAME}; --system teepriv; --system pcscd"
USERADD_PARAM:${PN} = "--system --gid pcscd --home-dir /run/pcscd --no-create-home --shell /sbin/nologin pcscd"

FILES:${PN} += "${nonarch_libdir}/udev"
