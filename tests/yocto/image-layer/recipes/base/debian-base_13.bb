SUMMARY = "Debian's root file system under the names of OpenEmbedded's packages"
LICENSE = "CLOSED"
INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"
S = "${UNPACKDIR}"

# By image-base.
DEBIAN_BASE_TAR ?= ""
do_install[file-checksums] += "${DEBIAN_BASE_TAR}:True"
do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install() {
    tar --numeric-owner --same-owner -xpf ${DEBIAN_BASE_TAR} -C ${D}
    for name in ${DEBIAN_REPLACED}; do
        case $name in
        softhsm) files="usr/lib/softhsm usr/lib/*-linux-gnu/softhsm usr/bin/softhsm2-* usr/share/p11-kit/modules/softhsm2.module etc/softhsm" ;;
        tpm2-pkcs11) files="usr/lib/pkcs11/libtpm2_pkcs11.so usr/lib/*-linux-gnu/libtpm2_pkcs11* usr/lib/*-linux-gnu/pkcs11/libtpm2_pkcs11*" ;;
        *) bbfatal "what Debian has of $name is not known" ;;
        esac
        (cd ${D} && rm -rf $files)
    done
}
# What a recipe brings, in place of Debian's.
DEBIAN_REPLACED ?= ""
# useradd.bbclass depends on them.
PROVIDES += "shadow base-files base-passwd"
SYSROOT_DIRS = ""
deltask do_package_qa
deltask do_create_spdx
deltask do_create_package_spdx

STAND_INS = "packagegroup-core-boot packagegroup-core-ssh-dropbear dropbear run-postinsts openssl-bin opensc \
    softhsm tpm2-pkcs11 libtss2-tcti-device tpm2-tools systemd systemd-extra-utils systemd-analyze base-files base-passwd shadow \
    bash coreutils findutils grep procps util-linux mosquitto mosquitto-clients p11-kit sqlite3"
STAND_INS:remove = "${DEBIAN_REPLACED}"
PACKAGES = "${PN} ${STAND_INS}"
FILES:${PN} = "/"
python () {
    for name in d.getVar('STAND_INS').split():
        d.setVar('FILES:' + name, '')
        d.setVar('ALLOW_EMPTY:' + name, '1')
        d.setVar('RDEPENDS:' + name, d.getVar('PN'))
    d.appendVar('RDEPENDS:packagegroup-core-ssh-dropbear', ' dropbear')
}
# As it is.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
EXCLUDE_FROM_SHLIBS = "1"
SKIP_FILEDEPS = "1"
FILESYSTEM_PERMS_TABLES = "conf/no-perms.txt"
PACKAGEBUILDPKGD:remove = "split_and_strip_files"
DEBIAN_NAMES = ""
AUTO_LIBNAME_PKGS = ""
DPKG_BUILDCMD = "dpkg-deb -Zgzip -z1"
