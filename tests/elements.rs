//! Secure elements that work in other ways than a TPM or a card: tests/faulty-module poses as each. The signer and the
//! commands do right by them, or say why they can't.
//!
//! | element | its ways |
//! |---|---|
//! | ATECC608 by cryptoauthlib | no login, one session, keys from the factory that can't be deleted or made |
//! | SE05x by NXP's module | no login, the curve in the private key's template |
//! | the key in a Raspberry Pi's OTP | no login, read-only |

use std::process::Command;
use std::thread;

use support::faulty::key_uri;
use support::hsm::PIN;
use support::{Faulty, Hsm, Signer, fail, openssl, program, succeed};

/// The signer on token `device`, which has a key called `key` and these ways; it has no PIN.
struct Element {
    signer: Signer,
    _hsm: Hsm,
}

impl Element {
    fn start(ways: &[&str]) -> Self {
        let hsm = Faulty::tokens();
        hsm.create_key_on("device", "key", "p256");
        let login =
            format!("token device without-login {PIN}\nC_Login return CKR_FUNCTION_NOT_SUPPORTED");
        let rules = [&[login.as_str()], ways].concat().join("\n");
        std::fs::write(hsm.file("control"), rules).unwrap();
        Self {
            signer: Signer::spawn(&hsm, &mut Faulty::command(&hsm)),
            _hsm: hsm,
        }
    }

    fn tedge_hsm(&self, args: &[&str]) -> Command {
        let mut command = self.signer.tedge_hsm();
        command.args(args);
        command
    }

    /// What is said in the end.
    fn refuses_to_delete(&self) -> String {
        let uri = key_uri("device");
        let output = self
            .tedge_hsm(&["delete-key", "--yes", "--uri", &uri])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

const TOKEN: &str = "pkcs11:token=device";
const FACTORY: [&str; 3] = [
    "token device sessions 1",
    "C_GenerateKeyPair return CKR_FUNCTION_NOT_SUPPORTED",
    "C_DestroyObject return CKR_ACTION_PROHIBITED",
];

#[test]
fn keys_from_the_factory_on_an_element_with_one_session() {
    let element = Element::start(&FACTORY);
    let key = element.signer.key(key_uri("device"));
    openssl::verify_all_schemes(&key);
    let listed = succeed(&mut element.tedge_hsm(&["list-keys", "--uri", TOKEN]));
    assert!(listed.contains("object=key;type=private"), "{listed}");
    // Many clients share the one session.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let key = element.signer.key(key_uri("device"));
                for _ in 0..5 {
                    openssl::verify_all_schemes(&key);
                }
            });
        }
    });
    let said = fail(&mut element.tedge_hsm(&["create-key", "--label", "new", "--uri", TOKEN]));
    assert!(said.contains("CKR_FUNCTION_NOT_SUPPORTED"), "{said}");
    assert!(said.contains("the token cannot do this"), "{said}");
    let said = element.refuses_to_delete();
    assert!(said.contains("CKR_ACTION_PROHIBITED"), "{said}");
    assert!(
        said.contains("does not let this object be changed or deleted"),
        "{said}"
    );
    openssl::verify_all_schemes(&key);
    let found = succeed(&mut element.tedge_hsm(&["doctor", "--uri", TOKEN]));
    assert!(
        found.contains("object=key;type=private signs, verified"),
        "{found}"
    );
}

/// NXP's module and others look for the curve there.
#[test]
fn a_key_is_made_where_the_private_template_wants_the_curve() {
    for ways in [
        &["token device curve-in-private"][..],
        &["token device curve-in-private", "token device sessions 1"],
    ] {
        let element = Element::start(ways);
        let made =
            succeed(&mut element.tedge_hsm(&["create-key", "--label", "new", "--uri", TOKEN]));
        let key = element.signer.key(made.trim());
        openssl::verify_all_schemes(&key);
        let said = succeed(&mut element.tedge_hsm(&["delete-key", "--yes", "--uri", made.trim()]));
        assert!(said.contains("type=private"), "{said}");
    }
}

#[test]
fn a_read_only_element() {
    let element = Element::start(&["token device read-only"]);
    let key = element.signer.key(key_uri("device"));
    openssl::verify_all_schemes(&key);
    let said = fail(&mut element.tedge_hsm(&["create-key", "--label", "new", "--uri", TOKEN]));
    assert!(said.contains("the token is write-protected"), "{said}");
    let said = element.refuses_to_delete();
    assert!(said.contains("the token is write-protected"), "{said}");
    openssl::verify_all_schemes(&key);
}

/// The one session has the login.
#[test]
fn an_element_with_one_session_and_a_pin() {
    let hsm = Faulty::tokens();
    hsm.create_key_on("device", "key", "p256");
    std::fs::write(hsm.file("control"), "token device sessions 1").unwrap();
    let signer = Faulty::spawn(&hsm);
    let key = signer.key(key_uri("device"));
    openssl::verify_all_schemes(&key);
    let tedge_hsm = |args: &[&str]| {
        let mut command = signer.tedge_hsm();
        command.args(args);
        succeed(&mut command)
    };
    let made = tedge_hsm(&["create-key", "--label", "new", "--uri", TOKEN]);
    openssl::verify_all_schemes(&signer.key(made.trim()));
    tedge_hsm(&["delete-key", "--yes", "--uri", made.trim()]);
    openssl::verify_all_schemes(&key);
}

/// Without a signer, as on a machine that is looked at first.
#[test]
fn doctor_on_an_element_whose_bus_is_not_for_all() {
    let hsm = Faulty::tokens();
    hsm.create_key_on("device", "key", "p256");
    let rules = format!("token device without-login {PIN}");
    std::fs::write(hsm.file("control"), rules).unwrap();
    let root = hsm.file("root");
    std::fs::create_dir_all(root.join("dev")).unwrap();
    let doctor = |hsm_name: &str, args: &[&str]| {
        let mut command = hsm.command(program("tedge-hsm"));
        command
            .args(["--hsm", hsm_name, "--module-path"])
            .arg(program("libfaulty_module.so"))
            .arg("doctor")
            .args(args)
            .arg("--root")
            .arg(&root)
            .env("FAULTY_MODULE", hsm.module())
            .env("FAULTY_CONTROL", hsm.file("control"))
            .env_remove("TEDGE_CONFIG_DIR");
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let found = doctor("atecc608", &[]);
    assert!(found.contains("/dev/i2c-1: No such file"), "{found}");
    assert!(found.contains("turn the bus on"), "{found}");
    std::fs::write(root.join("dev/i2c-1"), "").unwrap();
    for name in ["atecc608", "se05x"] {
        let found = doctor(name, &["--login", "--uri", TOKEN]);
        assert!(found.contains("token \"device\" needs no login"), "{found}");
        assert!(
            found.contains("object=key;type=private signs, verified"),
            "{found}"
        );
    }
    let found = doctor("rpi-otp", &[]);
    assert!(found.contains("this is no Raspberry Pi"), "{found}");
}
