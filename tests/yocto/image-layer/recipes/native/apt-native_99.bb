SUMMARY = "The host's apt and dpkg, to be called as OpenEmbedded calls its own"
LICENSE = "CLOSED"
INHIBIT_DEFAULT_DEPS = "1"
inherit native
S = "${UNPACKDIR}"
PROVIDES += "dpkg-native"
do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
deltask do_create_spdx
deltask do_create_package_spdx
INHIBIT_SYSROOT_STRIP = "1"

do_install() {
    install -d ${D}${bindir} ${D}${sysconfdir}/apt
    # OpenEmbedded's dpkg is patched to run scripts outside of the root, and to tell them of it by D.
    cat >${D}${bindir}/dpkg <<'END'
#!/bin/sh
for option; do
    case $option in --root=* | --instdir=*) export D="${option#--*=}" ;; esac
done
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin exec /usr/bin/dpkg --force-script-chrootless --log=/dev/null "$@"
END
    cat >${D}${bindir}/apt-get <<END
#!/bin/sh
mkdir -p ${TMPDIR}/apt-cache/archives/partial ${TMPDIR}/apt-state ${TMPDIR}/apt-log
exec /usr/bin/apt-get "\$@"
END
    chmod 0755 ${D}${bindir}/*
    # As the recipe of OpenEmbedded's apt writes it, but for what is in other places. The dots stand for dollars, which
    # BitBake would take for its own.
    sed -n '/apt.conf.sample << EOF/,/^EOF/{/EOF/d;p}' ${COREBASE}/meta/recipes-devtools/apt/apt_*.bb |
        sed -e 's,.{STAGING_DIR_NATIVE},${STAGING_DIR_NATIVE},' -e 's,.{STAGING_BINDIR_NATIVE},${STAGING_BINDIR_NATIVE},' \
            -e 's,.{STAGING_LIBDIR}/apt,/usr/lib/apt,' -e 's,"var/lib/apt/","${TMPDIR}/apt-state/",' \
            -e 's,"var/cache/apt/","${TMPDIR}/apt-cache/",' -e 's,"var/log/apt","${TMPDIR}/apt-log",' \
            >${D}${sysconfdir}/apt/apt.conf.sample
    echo 'DPkg::Use-Pty "0";' >>${D}${sysconfdir}/apt/apt.conf.sample
    grep -q '#ROOTFS#' ${D}${sysconfdir}/apt/apt.conf.sample
    install -d ${D}${localstatedir}
}

# Debian's pseudo does not follow how systemctl looks at files by descriptors, and aborts: it makes its links without
# pseudo, which then hears of their owner.
do_install:append() {
    cat >${D}${bindir}/systemctl <<'END'
#!/bin/sh
PSEUDO_UNLOAD=1 /usr/bin/systemctl "$@"
status=$?
for option; do
    case $option in --root=*) chown -hR 0:0 "${option#--root=}/etc/systemd" ;; esac
done
exit $status
END
    chmod 0755 ${D}${bindir}/systemctl
}
