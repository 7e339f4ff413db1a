//! A module that misbehaves on command (tests/faulty-module, around SoftHSM2), and tokens that go and
//! come: the signer heals by itself, and other tokens are served meanwhile.

use std::process::Command;
use std::time::{Duration, Instant};

use support::{Hsm, Kind, Signer, openssl, program};
use tedge_p11_client::{Client, Error, PrivateKey as _, SocketKey, TimeLimits};

/// Codes that say, or may mean, that what is kept of the token is not good any more.
const CODES: [&str; 14] = [
    "CKR_SESSION_HANDLE_INVALID",
    "CKR_SESSION_CLOSED",
    "CKR_KEY_HANDLE_INVALID",
    "CKR_OBJECT_HANDLE_INVALID",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_DEVICE_ERROR",
    "CKR_DEVICE_REMOVED",
    "CKR_DEVICE_MEMORY",
    "CKR_HOST_MEMORY",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_GENERAL_ERROR",
    "CKR_FUNCTION_FAILED",
    "CKR_OPERATION_ACTIVE",
    "CKR_CRYPTOKI_NOT_INITIALIZED",
];

/// A fault that passes is not seen by clients at all.
#[test]
fn one_failure_is_not_seen_by_the_client() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    for code in CODES {
        for function in ["C_SignInit", "C_Sign"] {
            faulty.rules(&format!("{function} slot=device return {code} 1"));
            sign(&key).unwrap_or_else(|error| panic!("{function} {code}: {error}"));
        }
    }
    faulty.rules("sessions slot=device lost");
    sign(&key).unwrap();
    faulty.rules("");
    openssl::verify_all_schemes(&key);
}

/// While a token fails, its clients get errors, the other token's don't; once it works again, so does
/// the signer. It does not log in thousands of times meanwhile.
#[test]
fn a_token_that_fails_for_a_while_heals_and_disturbs_no_other() {
    let faulty = Faulty::start();
    let (device, other) = (faulty.key("device"), faulty.key("two"));
    for code in CODES {
        // A real module that says this says it of every token.
        let slot = if code == "CKR_CRYPTOKI_NOT_INITIALIZED" {
            ""
        } else {
            "slot=device "
        };
        let logins = faulty.calls("C_Login");
        faulty.rules(&format!("C_SignInit {slot}return {code}"));
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(300) {
            sign(&device).unwrap_err();
            if !slot.is_empty() {
                sign(&other).unwrap_or_else(|error| panic!("{code}, other token: {error}"));
            }
        }
        faulty.rules("");
        faulty.heals(&device);
        faulty.heals(&other);
        let logins = faulty.calls("C_Login") - logins;
        assert!(logins < 30, "{code}: {logins} logins");
    }
}

/// Logins that fail, for another reason than the PIN, are spaced out.
#[test]
fn failing_logins_are_spaced_out() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    let logins = faulty.calls("C_Login");
    faulty.rules("sessions slot=device lost\nC_Login slot=device return CKR_GENERAL_ERROR");
    let started = Instant::now();
    let mut errors = 0;
    while started.elapsed() < Duration::from_secs(1) {
        let error = sign(&key).unwrap_err().to_string();
        assert!(error.contains("CKR_GENERAL_ERROR"), "{error}");
        errors += 1;
    }
    let logins = faulty.calls("C_Login") - logins;
    assert!(
        logins < 20 && errors > logins,
        "{logins} logins, {errors} errors"
    );
    faulty.rules("");
    faulty.heals(&key);
}

/// Nothing but C_Initialize helps then, and the signer finds out by itself.
#[test]
fn a_module_that_lost_its_initialisation_is_initialised_anew() {
    let faulty = Faulty::start();
    let (device, other) = (faulty.key("device"), faulty.key("two"));
    faulty.rules(
        "C_Finalize return CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize\n\
         * return CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize",
    );
    sign(&device).unwrap();
    sign(&other).unwrap();
}

#[test]
fn a_token_that_is_taken_out_and_put_back() {
    let faulty = Faulty::start();
    let (device, other) = (faulty.key("device"), faulty.key("two"));
    for requests_in_between in [true, false] {
        faulty.rules("token device absent");
        if requests_in_between {
            sign(&device).unwrap_err();
        }
        sign(&other).unwrap();
        faulty.rules("");
        faulty.heals(&device);
    }
}

/// A call that never returns costs its client an error in time, and nobody else anything.
#[test]
fn a_call_that_hangs_disturbs_no_other_token() {
    let faulty = Faulty::start();
    let other = faulty.key("two");
    let device = faulty.key("device");
    let patience = Duration::from_millis(300);
    let impatient = Client::new(faulty.signer.socket()).with_limits(TimeLimits {
        connect: patience,
        read: patience,
        write: patience,
    });
    let hasty = SocketKey::open(impatient, Some(faulty.uri("device")), None).unwrap();
    faulty.rules("C_Sign slot=device hang");
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let error = sign(&hasty).unwrap_err();
                assert!(matches!(error, Error::Timeout { .. }), "{error}");
            });
        }
    });
    for _ in 0..20 {
        sign(&other).unwrap();
        faulty.signer.client().ping().unwrap();
    }
    // Opening a key anew asks for what is there; the token that hangs is not in the way.
    faulty.key("two");
    faulty.rules("");
    faulty.heals(&device);
}

/// The module crashes and the signer with it. Who restarts it is systemd; the client that was waiting
/// asks again by itself.
#[test]
fn a_client_survives_a_crash_of_the_module() {
    let mut faulty = Faulty::start();
    let key = faulty.key("device");
    faulty.rules("C_Sign slot=device crash");
    let result = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sign(&key));
        assert!(!faulty.signer.wait().success());
        faulty.rules("");
        faulty.signer = Faulty::spawn(&faulty.hsm);
        waiting.join().unwrap()
    });
    result.unwrap();
}

/// Out of file descriptors: nobody is accepted for a while, then everybody again.
#[test]
fn descriptors_run_out_and_come_back() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let server = Signer::command(&hsm, &hsm.module());
    let mut command = Command::new("prlimit");
    command.arg("--nofile=40").arg(server.get_program());
    command
        .args(server.get_args())
        .args(["--pin", support::hsm::PIN]);
    for (name, value) in server.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut signer = Signer::spawn(&hsm, &mut command);
    let key = signer.key(&uri);
    for _ in 0..3 {
        let silent: Vec<_> = (0..100)
            .map(|_| support::wire::connect(signer.socket()))
            .collect();
        while !signer.log().contains("cannot accept a client") {
            std::thread::yield_now();
        }
        drop(silent);
        sign(&key).unwrap();
    }
    assert!(signer.is_running());
}

/// The key is deleted and made again, with the same label and id, by another program.
#[test]
fn a_key_that_is_made_again_elsewhere_is_found() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let make = [
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--id",
        "01",
        "--label",
        "device",
    ];
    hsm.pkcs11_tool(&make);
    let signer = Signer::start(&hsm);
    let uri = "pkcs11:token=device;object=device;id=%01";
    let before = signer.key(uri);
    openssl::verify_all_schemes(&before);
    for kind in ["privkey", "pubkey"] {
        hsm.pkcs11_tool(&["--delete-object", "--type", kind, "--id", "01"]);
    }
    let error = sign(&before).unwrap_err().to_string();
    assert!(error.contains("no private key matches"), "{error}");
    hsm.pkcs11_tool(&make);
    let after = signer.key(uri);
    assert_ne!(before.public_key(), after.public_key());
    openssl::verify_all_schemes(&after);
}

/// A token made by another program while the signer is running is seen.
#[test]
fn a_new_token_is_seen() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start(&hsm);
    let absent = signer.client().keys(Some("pkcs11:token=late"), None);
    assert!(absent.unwrap_err().to_string().contains("no token matches"));
    hsm.add_token("late");
    let uri = hsm.create_key_on("late", "device", "p256");
    // Not at once: initialising the module anew, which it takes with SoftHSM2, has a back-off.
    let deadline = Instant::now() + Duration::from_secs(60);
    let key = loop {
        match SocketKey::open(signer.client(), Some(uri.clone()), None) {
            Ok(key) => break key,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    openssl::verify_all_schemes(&key);
}

/// The token's folder is moved away and back.
#[test]
fn a_softhsm_folder_that_is_moved_away_and_back() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start(&hsm);
    let key = signer.key(&uri);
    let (here, away) = (hsm.file("softhsm/tokens"), hsm.file("away"));
    for requests_in_between in [false, true] {
        std::fs::rename(&here, &away).unwrap();
        if requests_in_between {
            // SoftHSM2 signs on with what it has in memory, or fails: both will do.
            let _ = sign(&key);
        }
        std::fs::rename(&away, &here).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = sign(&key) {
            assert!(Instant::now() < deadline, "{error}");
        }
        openssl::verify_all_schemes(&key);
    }
}

/// SoftHSM2 with two tokens, `device` and `two`, behind the module that misbehaves.
struct Faulty {
    signer: Signer,
    hsm: Hsm,
}

impl Faulty {
    fn start() -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        hsm.add_token("two");
        for token in ["device", "two"] {
            hsm.create_key_on(token, "key", "p256");
        }
        std::fs::write(hsm.file("control"), "").unwrap();
        Self {
            signer: Self::spawn(&hsm),
            hsm,
        }
    }

    fn spawn(hsm: &Hsm) -> Signer {
        let mut command = Signer::command(hsm, &program("libfaulty_module.so"));
        command
            .args(["--pin", support::hsm::PIN])
            .env("FAULTY_MODULE", hsm.module())
            .env("FAULTY_CONTROL", hsm.file("control"))
            .env("FAULTY_LOG", hsm.file("calls.log"));
        Signer::spawn(hsm, &mut command)
    }

    /// From now on, the module misbehaves like this.
    fn rules(&self, rules: &str) {
        let new = self.hsm.file("control.new");
        std::fs::write(&new, rules).unwrap();
        std::fs::rename(new, self.hsm.file("control")).unwrap();
    }

    /// How often a function was called so far.
    fn calls(&self, function: &str) -> usize {
        let log = std::fs::read_to_string(self.hsm.file("calls.log")).unwrap();
        log.lines()
            .filter(|line| line.split(' ').next() == Some(function))
            .count()
    }

    fn uri(&self, token: &str) -> String {
        format!("pkcs11:token={token};object=key")
    }

    fn key(&self, token: &str) -> SocketKey {
        self.signer.key(&self.uri(token))
    }

    /// Signs until it works, which must be soon.
    fn heals(&self, key: &SocketKey) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = sign(key) {
            assert!(Instant::now() < deadline, "not healed: {error}");
        }
        openssl::verify_all_schemes(key);
    }
}

fn sign(key: &SocketKey) -> Result<Vec<u8>, Error> {
    key.sign(key.schemes()[0], b"message")
}
