SUMMARY = "Configuration of tedge-hsm-bridge: clouds, keys and rules"
DESCRIPTION = "A product appends to this recipe alone: a tedge-hsm-bridge.toml in its SRC_URI takes the place of the \
default, which names no cloud."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-source.inc

inherit allarch

INHIBIT_DEFAULT_DEPS = "1"

TEDGE_HSM_CHECKOUT_FILES = "LICENSE dist/tedge-hsm-bridge"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    settings=${UNPACKDIR}/tedge-hsm-bridge.toml
    [ -e $settings ] || settings=${S}/dist/tedge-hsm-bridge/tedge-hsm-bridge.toml
    install -d ${D}${sysconfdir}/tedge-hsm ${D}${datadir}/tedge-hsm
    install -m 0644 $settings ${D}${sysconfdir}/tedge-hsm/tedge-hsm-bridge.toml
    # The example that manuals and messages name.
    install -m 0644 ${S}/dist/tedge-hsm-bridge/tedge-hsm-bridge.toml ${D}${datadir}/tedge-hsm
}

FILES:${PN} += "${datadir}/tedge-hsm"
CONFFILES:${PN} = "${sysconfdir}/tedge-hsm/tedge-hsm-bridge.toml"
RPROVIDES:${PN} = "virtual-tedge-hsm-bridge-conf"
