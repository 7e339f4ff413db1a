SUMMARY = "The signer, its tools and what the HSMs of TEDGE_HSM need"

inherit packagegroup tedge-hsm-kinds features_check

REQUIRED_DISTRO_FEATURES = "systemd"

RDEPENDS:${PN} = " \
    tedge-p11-server \
    tedge-hsm \
    tedge-hsm-udev \
    ${@'tedge-hsm-provision' if d.getVar('TEDGE_HSM_PROVISION') else ''} \
    ${@' '.join(tedge_hsm_each(d, 'PACKAGES'))} \
"
# Recommended: BAD_RECOMMENDATIONS leaves it out of an image whose programs have connections of their own.
RRECOMMENDS:${PN} = "${@'tedge-hsm-bridge' if tedge_hsm_has_bridge(d) else ''}"

def tedge_hsm_has_bridge(d):
    return d.getVar('TEDGE_HSM_SRC') or os.path.isdir(d.expand('${TEDGE_HSM_CHECKOUT}/rust/tedge-hsm-bridge'))
