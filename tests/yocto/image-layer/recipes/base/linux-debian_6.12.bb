SUMMARY = "Debian's kernel, deployed; its modules are in debian-base"
LICENSE = "CLOSED"
INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"
PROVIDES += "virtual/kernel"
inherit deploy nopackages
S = "${UNPACKDIR}"
# By image-base.
DEBIAN_KERNEL ?= ""
do_deploy[file-checksums] += "${DEBIAN_KERNEL}:True"
do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
deltask do_create_spdx
deltask do_create_package_spdx
deltask do_packagedata
do_packagedata() {
    :
}
do_packagedata[noexec] = "1"
addtask packagedata after do_install
do_deploy() {
    install -D -m 0644 ${DEBIAN_KERNEL} ${DEPLOYDIR}/${KERNEL_IMAGETYPE}
}
addtask deploy after do_install before do_build
