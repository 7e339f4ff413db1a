//! The way of programs that are not Rust: module, p11-kit's file, OpenSSL's configuration and provider.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use support::signer::POLICY;
use support::{Signer, program};

use crate::{Bench, Findings};

const MODULE: &str = "usr/lib/pkcs11/libtedge_p11.so";
const P11_KIT: &str = "usr/share/p11-kit/modules/tedge-p11.module";
const OPENSSL: &str = "usr/share/tedge-p11/openssl.cnf";
const PROVIDER: &str = "usr/lib/ossl-modules/pkcs11.so";

impl Bench {
    /// With what make install and a package of the provider bring, and a signer where programs look for it.
    fn with_programs() -> (Self, Signer) {
        let bench = Self::new();
        bench.hsm.create_key("tls", "p256");
        let signer = Signer::start_with_default_policy(&bench.hsm);
        bench.install_module();
        (bench, signer)
    }

    fn install_module(&self) {
        self.link(&program("libtedge_p11.so"), MODULE);
        self.write(
            P11_KIT,
            "# For p11-kit\nmodule: /usr/lib/pkcs11/libtedge_p11.so\n\ncritical: no\n",
        );
        self.write(
            OPENSSL,
            "[pkcs11_provider]\npkcs11-module-path = /usr/lib/pkcs11/libtedge_p11.so\n\
             pkcs11-module-load-behavior = early\n",
        );
        self.write(PROVIDER, "");
    }

    fn link(&self, file: &Path, path: &str) {
        let link = self.write(path, "");
        std::fs::remove_file(&link).unwrap();
        symlink(file, link).unwrap();
    }

    /// As a program that is started with the variable for the socket.
    fn examine(&self, signer: &Signer) -> Findings {
        let mut command = self.through(signer);
        command.env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", signer.socket());
        Findings::of(command.env_remove("OPENSSL_CONF"))
    }
}

#[test]
fn all_is_in_place() {
    let (bench, signer) = Bench::with_programs();
    let findings = bench.examine(&signer);
    findings.ok(
        "programs",
        "libtedge_p11.so is known to p11-kit by /usr/share/p11-kit",
    );
    findings.ok(
        "programs",
        "OPENSSL_CONF=/usr/share/tedge-p11/openssl.cnf has OpenSSL load it by",
    );
    findings.ok(
        "programs",
        "libtedge_p11.so shows this user private keys: 1",
    );
    findings.are_good();
}

#[test]
fn nothing_is_installed() {
    let bench = Bench::new();
    let mut command = bench.of(Command::new(program("tedge-hsm")));
    Findings::of(&mut command).has(
        "skipped",
        "programs",
        "libtedge_p11.so is not installed: curl, nginx and others can't use the keys",
        "",
    );
}

#[test]
fn a_module_that_p11_kit_does_not_know() {
    let (bench, signer) = Bench::with_programs();
    std::fs::remove_file(bench.root.join(P11_KIT)).unwrap();
    bench
        .examine(&signer)
        .warning("programs", "is not known to p11-kit", "make install");
}

#[test]
fn a_module_that_is_missing() {
    let (bench, signer) = Bench::with_programs();
    std::fs::remove_file(bench.root.join(MODULE)).unwrap();
    bench.examine(&signer).failure(
        "programs",
        "tedge-p11.module names /usr/lib/pkcs11/libtedge_p11.so, which is not there",
        "make install",
    );
}

#[test]
fn a_module_that_does_not_load() {
    let (bench, signer) = Bench::with_programs();
    std::fs::remove_file(bench.root.join(MODULE)).unwrap();
    bench.write(MODULE, "no library");
    bench
        .examine(&signer)
        .failure("programs", "libtedge_p11.so", "make install");
}

#[test]
fn openssl_that_does_not_load_it() {
    let (bench, signer) = Bench::with_programs();
    bench.write(
        OPENSSL,
        "[pkcs11_provider]\npkcs11-module-path = /usr/lib/pkcs11/libtedge_p11.so\n",
    );
    bench.examine(&signer).warning(
        "programs",
        "load the module late",
        "set pkcs11-module-load-behavior = early",
    );
    bench.write(
        OPENSSL,
        "pkcs11-module-path = /usr/lib/softhsm/libsofthsm2.so\n",
    );
    bench.examine(&signer).failure(
        "programs",
        "has OpenSSL load /usr/lib/softhsm/libsofthsm2.so, and not /usr/lib/pkcs11/libtedge_p11.so",
        "correct pkcs11-module-path",
    );
    std::fs::remove_file(bench.root.join(OPENSSL)).unwrap();
    bench.examine(&signer).failure(
        "programs",
        "names no module for OpenSSL's pkcs11-provider",
        "OPENSSL_CONF=/usr/share/tedge-p11/openssl.cnf",
    );
    let mut command = bench.through(&signer);
    Findings::of(command.env("OPENSSL_CONF", "/etc/ssl/ours.cnf")).failure(
        "programs",
        "/etc/ssl/ours.cnf names no module",
        "OPENSSL_CONF=/usr/share/tedge-p11/openssl.cnf",
    );
}

#[test]
fn no_provider_of_openssls() {
    let (bench, signer) = Bench::with_programs();
    std::fs::remove_file(bench.root.join(PROVIDER)).unwrap();
    let findings = bench.examine(&signer);
    findings.has(
        "skipped",
        "programs",
        "pkcs11-provider is not installed",
        "",
    );
    findings.are_good();
}

/// Of flags and of tedge.toml programs know nothing.
#[test]
fn a_signer_at_a_place_that_programs_are_not_told() {
    let (bench, signer) = Bench::with_programs();
    Findings::of(bench.through(&signer).env_remove("OPENSSL_CONF")).warning(
        "programs",
        "programs look for the signer at /run/tedge-p11-server/tedge-p11-server.sock, which is at",
        "start programs with TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH=",
    );
}

#[test]
fn a_user_who_may_list_nothing() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let rule = "[[rule]]\nuser = \"nobody\"\noperations = [\"list\"]\n";
    std::fs::write(bench.hsm.file(POLICY), rule).unwrap();
    let signer = Signer::start(&bench.hsm);
    bench.install_module();
    bench
        .examine(&signer)
        .warning("programs", "shows this user no private key", "\"list\"");
}
