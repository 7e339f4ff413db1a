SUMMARY = "A PKCS#11 module for programs that use keys behind tedge-p11-server"
DESCRIPTION = "OpenSSL, GnuTLS, curl, nginx and others sign by it with the device's key: they get no PIN and no token, and \
the signer's policy holds for them."

require recipes-tedge-hsm/tedge-hsm/tedge-hsm-cargo.inc

# A panic must not end the program that loaded the module: as Cargo.toml's profile "module" has it.
export CARGO_PROFILE_RELEASE_PANIC = "unwind"

do_install() {
    tedge_hsm_install module
}

FILES:${PN} += "${libdir}/pkcs11 ${datadir}/p11-kit ${datadir}/tedge-p11"
