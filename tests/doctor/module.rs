//! Modules, tokens, PINs and keys, straight on the module.

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{program, succeed};

use crate::{Bench, Findings, chmod};

#[test]
fn a_module_that_is_missing() {
    let bench = Bench::new();
    let findings = Findings::of(&mut bench.on_module(Path::new("/nowhere/libtpm2_pkcs11.so")));
    findings.failure(
        "module",
        "/nowhere/libtpm2_pkcs11.so: /nowhere: No such file",
        "install libtpm2-pkcs11-1",
    );
}

#[test]
fn a_module_that_is_no_library() {
    let bench = Bench::new();
    let text = bench.write("module.so", &"no library at all\n".repeat(64));
    Findings::of(&mut bench.on_module(&text)).failure(
        "module",
        "invalid ELF header",
        "no shared library",
    );
}

#[test]
fn a_module_that_needs_a_library_which_is_missing() {
    let bench = Bench::new();
    let gone = library(&bench, "libgone.so", &[]);
    let folder = format!("-L{}", bench.root.display());
    let module = library(
        &bench,
        "module.so",
        &["-Wl,--no-as-needed", &folder, "-lgone"],
    );
    std::fs::remove_file(gone).unwrap();
    Findings::of(&mut bench.on_module(&module)).failure(
        "module",
        "libgone.so: cannot open shared object file",
        "install the package that brings the library libgone.so",
    );
}

#[test]
fn a_library_that_is_no_pkcs11_module() {
    let bench = Bench::new();
    let module = library(&bench, "module.so", &[]);
    Findings::of(&mut bench.on_module(&module)).failure(
        "module",
        "C_GetFunctionList",
        "this is no PKCS#11 module",
    );
}

#[test]
fn a_module_that_hangs() {
    let bench = Bench::new();
    for (function, area) in [("C_Initialize", "module"), ("C_GetSlotList", "token")] {
        let mut command = bench.faulty(&format!("{function} hang"));
        let findings = Findings::of(command.args(["--timeout", "10"]));
        findings.failure(area, "10 s", "device");
    }
}

/// OpenSC's module without pcscd has no slot.
#[test]
fn a_module_without_a_token() {
    let bench = Bench::new();
    let arch = std::env::consts::ARCH;
    let module = PathBuf::from(format!("/usr/lib/{arch}-linux-gnu/opensc-pkcs11.so"));
    let mut command = bench.on_module(&module);
    command.env("PCSCLITE_CSOCK_NAME", bench.hsm.file("no.sock"));
    Findings::of(&mut command).failure("token", "no device", "plug the token in");
}

#[test]
fn a_blank_token() {
    let bench = Bench::new();
    let tokens = bench.root.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let config = format!("directories.tokendir = {}\n", tokens.display());
    let config = bench.write("softhsm2.conf", &config);
    let mut command = bench.straight();
    command.arg("--login").env("SOFTHSM2_CONF", config);
    let findings = Findings::of(&mut command);
    findings.warning("token", "blank token", "tedge-hsm init");
    findings.failure("pin", "not logged in: 0 initialised tokens", "--uri");
}

/// The PIN is not spent on a token that may be the wrong one.
#[test]
fn a_login_to_one_of_two_tokens() {
    let bench = Bench::new();
    bench.hsm.add_token("two");
    let findings = Findings::of(bench.faulty("").arg("--login"));
    findings.failure("pin", "2 initialised tokens match", "--uri");
    assert_eq!(logins(&bench), 0);
}

#[test]
fn what_a_token_says_of_its_pin() {
    let bench = Bench::new();
    for (flag, state, cure) in [
        ("LOCKED", "failure", "SO PIN"),
        ("FINAL_TRY", "failure", "the right PIN"),
        ("COUNT_LOW", "warning", "find out which user gives them"),
        ("TO_BE_CHANGED", "warning", "change it"),
    ] {
        let mut command = bench.faulty(&format!("token device flag CKF_USER_PIN_{flag}"));
        let findings = Findings::of(&mut command);
        findings.has(state, "pin", &format!("CKF_USER_PIN_{flag}"), cure);
    }
    assert_eq!(logins(&bench), 0, "nobody said --login");
}

#[test]
fn no_try_is_spent_when_one_is_left() {
    let bench = Bench::new();
    for flag in ["LOCKED", "FINAL_TRY"] {
        let mut command = bench.faulty(&format!("token device flag CKF_USER_PIN_{flag}"));
        command.args(["--login", "--uri", "pkcs11:token=device"]);
        let findings = Findings::of(&mut command);
        findings.has("skipped", "pin", "this check spends no try of its PIN", "");
    }
    assert_eq!(logins(&bench), 0);
}

#[test]
fn a_pin_that_is_wrong() {
    let bench = Bench::new();
    std::fs::write(bench.hsm.file("pin"), "654321").unwrap();
    let mut command = bench.faulty("");
    command.args(["--login", "--uri", "pkcs11:token=device"]);
    let findings = Findings::of(&mut command);
    findings.failure("pin", "CKR_PIN_INCORRECT", "find the right PIN");
    assert_eq!(logins(&bench), 1, "one try and no more");
    // SoftHSM2 remembers it.
    let findings = Findings::of(&mut bench.straight());
    findings.warning("pin", "CKF_USER_PIN_COUNT_LOW", "which user gives them");
}

#[test]
fn a_pin_that_is_not_given() {
    let bench = Bench::new();
    let mut command = bench.on_module(&bench.hsm.module());
    command.args(["--login", "--uri", "pkcs11:token=device"]);
    Findings::of(&mut command).failure("pin", "there is no PIN", "--pin-file");
}

#[test]
fn a_pin_file_that_others_may_read() {
    let bench = Bench::new();
    chmod(&bench.hsm.file("pin"), 0o644);
    Findings::of(&mut bench.straight()).failure("config", "(0644 ", "chmod 600");
    chmod(&bench.hsm.file("pin"), 0o600);
    let credential = bench.write("etc/credstore/tedge-p11-server.pin", "654321");
    chmod(&credential, 0o640);
    Findings::of(&mut bench.straight()).failure("config", "(0640 ", "chmod 600");
}

#[test]
fn a_pin_that_is_sealed_and_in_a_plain_file() {
    let bench = Bench::new();
    let credential = bench.write("etc/credstore/tedge-p11-server.pin", "654321");
    chmod(&credential, 0o600);
    bench.write("etc/credstore.encrypted/tedge-p11-server.pin", "sealed");
    let findings = Findings::of(&mut bench.straight());
    findings.warning("config", "there is a sealed PIN, too", "remove the one");
    std::fs::remove_file(credential).unwrap();
    let said = Findings::of(&mut bench.straight());
    assert!(!said.0.iter().any(|found| found.what.contains("sealed PIN")));
}

#[test]
fn a_token_without_a_key() {
    let bench = Bench::new();
    let mut command = bench.straight();
    command.args(["--login", "--uri", "pkcs11:token=device"]);
    Findings::of(&mut command).failure("key", "no private key", "tedge-hsm create-key");
}

#[test]
fn a_token_without_the_mechanism_of_its_key() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let mut command = bench.faulty("C_GetMechanismInfo return CKR_MECHANISM_INVALID");
    command.args(["--login", "--uri", "pkcs11:token=device;object=tls"]);
    let findings = Findings::of(&mut command);
    findings.failure("mechanism", "CKM_ECDSA", "another token");
    findings.failure("key", "no mechanism", "another type");
}

#[test]
fn a_key_that_does_not_sign() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    for (rule, cure) in [
        ("C_Sign return CKR_DEVICE_REMOVED", "plug the token in"),
        ("C_SignInit return CKR_MECHANISM_INVALID", "another type"),
        ("C_Sign hang", "finger"),
    ] {
        let mut command = bench.faulty(rule);
        command.args(["--login", "--uri", "pkcs11:token=device", "--timeout", "10"]);
        Findings::of(&mut command).failure("key", "object=tls", cure);
    }
}

fn logins(bench: &Bench) -> usize {
    let log = std::fs::read_to_string(bench.hsm.file("calls.log")).unwrap();
    let calls = log.lines().filter(|line| line.starts_with("C_Login "));
    calls.count()
}

/// A shared library with nothing of PKCS#11 in it.
fn library(bench: &Bench, name: &str, linked: &[&str]) -> PathBuf {
    compile(bench, name, "int nothing;", linked)
}

fn compile(bench: &Bench, name: &str, source: &str, linked: &[&str]) -> PathBuf {
    let source = bench.write(&format!("{name}.c"), source);
    let path = bench.root.join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-o"])
        .arg(&path)
        .arg(source)
        .args(linked);
    succeed(&mut gcc);
    path
}

/// thin-edge.io's user may write tedge.toml: what it names there must not run as root.
#[test]
fn a_module_of_others_that_root_is_to_load() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root has to be careful");
        return;
    }
    let bench = Bench::new();
    let doctor = |module: &Path| {
        let config = format!(
            "[device.cryptoki]\nmodule_path = \"{}\"\n",
            module.display()
        );
        bench.write("etc/tedge/tedge.toml", &config);
        Findings::of(&mut bench.of(bench.hsm.command(program("tedge-hsm"))))
    };
    // The folder for temporary files is everybody's.
    let module = bench.hsm.file("module.so");
    std::fs::copy(bench.hsm.module(), &module).unwrap();
    doctor(&module).failure(
        "module",
        "users other than root may write",
        "only root may write",
    );
    doctor(&bench.hsm.module()).ok("module", "is loaded");
}

/// The library tells its environment as soon as it is loaded, and is refused then.
#[test]
fn hsm_sets_what_the_module_needs_unless_it_is_set() {
    let bench = Bench::new();
    let source = "#include <stdio.h>\n#include <stdlib.h>\n\
        __attribute__((constructor)) static void tell(void) {\n\
            const char *tcti = getenv(\"TPM2_PKCS11_TCTI\");\n\
            fprintf(stderr, \"TCTI %s\\n\", tcti ? tcti : \"none\");\n\
        }\n";
    let module = compile(&bench, "tell.so", source, &[]);
    for (hsm, set, told) in [
        (None, None, "TCTI none"),
        (Some("tpm2"), None, "TCTI device:/dev/tpmrm0"),
        (Some("tpm2"), Some("mine"), "TCTI mine"),
    ] {
        let mut command = Command::new(program("tedge-hsm"));
        command.env_remove("TPM2_PKCS11_TCTI");
        command.arg("--module-path").arg(&module).arg("list-tokens");
        command.args(hsm.map(|hsm| format!("--hsm={hsm}")));
        command.envs(set.map(|value| ("TPM2_PKCS11_TCTI", value)));
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.starts_with(&format!("{told}\n")),
            "{hsm:?} {set:?}: {stderr}"
        );
        assert_eq!(output.status.code(), Some(1));
    }
}
