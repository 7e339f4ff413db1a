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
    tedge-hsm \
    tedge-hsm-udev \
    tedge-p11-server \
"
# Recommended: BAD_RECOMMENDATIONS leaves it out of an image whose programs have connections of their own.
RRECOMMENDS:${PN} = "${@'tedge-hsm-bridge' if tedge_hsm_has_bridge(d) else ''}"

def tedge_hsm_has_bridge(d):
    return d.getVar('TEDGE_HSM_SRC') or os.path.isdir(d.expand('${TEDGE_HSM_CHECKOUT}/rust/tedge-hsm-bridge'))
