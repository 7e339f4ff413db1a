SUMMARY = "The host's pseudo"
LICENSE = "MIT"
INHIBIT_DEFAULT_DEPS = "1"
inherit native
PROVIDES += "virtual/fakeroot-native"
do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
do_populate_lic[noexec] = "1"
deltask do_create_spdx
deltask do_create_package_spdx
