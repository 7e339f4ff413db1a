SUMMARY = "A PKCS#11 module for programs that use keys behind tedge-p11-server"
DESCRIPTION = "OpenSSL, GnuTLS, curl, nginx and others sign by it with the device's key: they get no PIN and no token, and \
the signer's policy holds for them."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-cargo.inc

# A panic must not end the program that loaded the module: as Cargo.toml's profile "module" has it.
export CARGO_PROFILE_RELEASE_PANIC = "unwind"

DIST = "${S}/dist/tedge-p11-module"

# The class looks for programs.
do_install() {
    install -d ${D}${libdir}/pkcs11 ${D}${datadir}/p11-kit/modules ${D}${datadir}/tedge-p11
    install -m 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/libtedge_p11.so ${D}${libdir}/pkcs11
    sed 's|@P11MODULEDIR@|${libdir}/pkcs11|' ${DIST}/tedge-p11.module > ${D}${datadir}/p11-kit/modules/tedge-p11.module
    sed -e 's|@P11MODULEDIR@|${libdir}/pkcs11|' -e 's|@DATADIR@|${datadir}|' ${DIST}/openssl.cnf \
        > ${D}${datadir}/tedge-p11/openssl.cnf
}

FILES:${PN} += "${libdir}/pkcs11 ${datadir}/p11-kit ${datadir}/tedge-p11"
