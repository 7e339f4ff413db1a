SUMMARY = "The signer, its tools and what the HSMs of TEDGE_HSM need"
DESCRIPTION = "tedge-p11-server, tedge-hsm and the modules, daemons and rules for the HSMs that the device has."
SECTION = "security"

# The HSM is the machine's.
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup tedge_hsm_kinds features_check

REQUIRED_DISTRO_FEATURES = "systemd"

RDEPENDS:${PN} = "\
    ${@' '.join(tedge_hsm_each(d, 'PACKAGES'))} \
    ${@'tedge-hsm-provision' if d.getVar('TEDGE_HSM_PROVISION') else ''} \
    ${@'tedge-p11-module pkcs11-provider' if d.getVar('TEDGE_HSM_OPENSSL') == '1' else ''} \
    tedge-hsm \
    tedge-hsm-udev \
    tedge-p11-server \
"
# Recommended: BAD_RECOMMENDATIONS leaves out of an image what it has no use for. None starts by itself. tpm2-tools opens a
# TPM that has locked itself, as doctor says.
RRECOMMENDS:${PN} = "tedge-hsm-bridge tedge-hsm-renew \
    ${@bb.utils.contains('TEDGE_HSM', 'tpm2', 'tpm2-tools', '', d)}"
