SUMMARY = "Signs with the keys of a PKCS#11 token for clients on a UNIX socket"
DESCRIPTION = "Owns the PKCS#11 module of a device's HSM. What a TLS client needs is signed for those whom a policy lets; \
the keys, the PIN and the module stay here, in a sandbox of systemd's."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-cargo.inc

inherit systemd useradd features_check

REQUIRED_DISTRO_FEATURES = "systemd"

# The rule that lets the signer use pcscd where that asks polkit.
PACKAGECONFIG ??= "${@bb.utils.filter('DISTRO_FEATURES', 'polkit', d)}"
PACKAGECONFIG[polkit] = ""

do_install() {
    tedge_hsm_install signer POLKITDIR=${@bb.utils.contains('PACKAGECONFIG', 'polkit', '${datadir}/polkit-1/rules.d', '', d)}
}

# A client starts the service by its socket.
SYSTEMD_SERVICE:${PN} = "tedge-p11-server.socket"

# As sysusers.d has them. meta-tedge's tedge makes the user and the group tedge as well: what is there already stays
# as it is, whoever comes first.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system tedge-hsm; --system tedge; --system tedge-p11"
USERADD_PARAM:${PN} = "--system --gid tedge-p11 --home-dir ${localstatedir}/lib/tedge-p11-server --no-create-home \
--shell /sbin/nologin tedge-p11; --system --gid tedge --home-dir / --no-create-home --shell /sbin/nologin tedge"
# The socket is the group's, not the user's. Where there is USERMOD_PARAM, the other one is deprecated.
# nooelint: oelint.vars.mispell # oelint-adv does not know it yet
USERMOD_PARAM:${PN} = "${@bb.utils.contains('PACKAGEVARS', 'USERMOD_PARAM', '--append --groups tedge tedge', '', d)}"
GROUPMEMS_PARAM:${PN} = "${@bb.utils.contains('PACKAGEVARS', 'USERMOD_PARAM', '', '--add tedge --group tedge', d)}"

FILES:${PN} += "${systemd_system_unitdir} ${nonarch_libdir}/sysusers.d ${nonarch_libdir}/tmpfiles.d \
${nonarch_libdir}/tedge-p11-server ${datadir}/polkit-1"
RDEPENDS:${PN} = "virtual-tedge-p11-server-conf"
