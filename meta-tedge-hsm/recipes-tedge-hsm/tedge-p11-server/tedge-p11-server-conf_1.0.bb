SUMMARY = "The policy of tedge-p11-server, and its HSM by TEDGE_HSM"
DESCRIPTION = "A product appends to this recipe alone: a tedge-p11-server.toml in its SRC_URI takes the place of the \
default policy."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-source.inc

SRC_URI += "file://module.conf.in"

inherit features_check tedge_hsm_kinds

# The HSM is the machine's.
PACKAGE_ARCH = "${MACHINE_ARCH}"

REQUIRED_DISTRO_FEATURES = "systemd"
INHIBIT_DEFAULT_DEPS = "1"

TEDGE_HSM_CHECKOUT_FILES = "LICENSE dist/tedge-p11-server"

# The first of TEDGE_HSM is the signer's. Empty leaves it to module_path in tedge.toml, which the environment outdoes.
TEDGE_HSM_MODULE ?= "${@(tedge_hsm_each(d, 'MODULE') + [''])[0]}"
# Confines all clients to what it names.
TEDGE_HSM_URI ?= "${@'pkcs11:token=${TEDGE_HSM_TOKEN}' if d.getVar('TEDGE_HSM_PROVISION') else ''}"
TEDGE_HSM_DROPINS ?= "${@' '.join(tedge_hsm_each(d, 'DROPIN'))}"
# optee-client's, which a product may change.
TEE_GROUP_NAME ?= "tee"

# BitBake can't see the variables whose names are put together.
TEDGE_HSM_MODULE[vardepvalue] = "${TEDGE_HSM_MODULE}"
TEDGE_HSM_DROPINS[vardepvalue] = "${TEDGE_HSM_DROPINS}"

# systemd has a meaning for the percent sign, and sed for the ampersand.
URI_IN_UNIT = "${@d.getVar('TEDGE_HSM_URI').replace('%', '%%').replace('&', '\\&')}"

DIST = "${S}/dist/tedge-p11-server"
DROPINS = "${systemd_system_unitdir}/tedge-p11-server.service.d"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    policy=${UNPACKDIR}/tedge-p11-server.toml
    [ -e $policy ] || policy=${DIST}/tedge-p11-server.toml
    install -d ${D}${sysconfdir}/tedge-hsm ${D}${datadir}/tedge-hsm ${D}${DROPINS}
    # What holds without a policy: manuals and messages name it.
    install -m 0644 ${DIST}/tedge-p11-server.toml ${D}${datadir}/tedge-hsm
    install -m 0644 $policy ${D}${sysconfdir}/tedge-hsm/tedge-p11-server.toml

    for dropin in notify-reload.conf ${TEDGE_HSM_DROPINS}; do
        [ -e ${DIST}/dropins/$dropin ] || bbfatal "the signer has no drop-in $dropin"
        ln -s ${nonarch_libdir}/tedge-p11-server/$dropin ${D}${DROPINS}/$dropin
    done
    if [ -L ${D}${DROPINS}/optee.conf ] && [ "${TEE_GROUP_NAME}" != tee ]; then
        rm ${D}${DROPINS}/optee.conf
        sed 's/^SupplementaryGroups=.*/SupplementaryGroups=${TEE_GROUP_NAME}/' ${DIST}/dropins/optee.conf \
            > ${D}${DROPINS}/optee.conf
    fi
    if [ -n "${TEDGE_HSM_MODULE}${TEDGE_HSM_URI}" ]; then
        # What is empty is left to tedge.toml.
        sed -e 's|@MODULE@|${TEDGE_HSM_MODULE}|' -e 's|@URI@|${URI_IN_UNIT}|' -e '/="*$/d' \
            ${UNPACKDIR}/module.conf.in > ${D}${DROPINS}/module.conf
    fi
}

FILES:${PN} += "${DROPINS} ${datadir}/tedge-hsm"
CONFFILES:${PN} = "${sysconfdir}/tedge-hsm/tedge-p11-server.toml"
# The groups that the drop-ins name.
RDEPENDS:${PN} = "tedge-hsm-udev"
RPROVIDES:${PN} = "virtual-tedge-p11-server-conf"
