//! A token that another program initialises anew, in its slot and with its label, while the signer runs.

use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::faulty::LOST_INITIALISATION;
use support::hsm::{PIN, SO_PIN};
use support::{Faulty, Signer, openssl, succeed};
use tedge_p11_client::{PrivateKey as _, SocketKey};

const OTHER_PIN: &str = "246810";

/// However many requests come while the token is empty, and whether it has its old PIN or not: the key
/// that is made then is signed with, without a restart.
#[test]
fn the_new_key_of_a_token_that_was_initialised_anew_is_signed_with() {
    for requests_in_between in 0..3 {
        let test = Reinit::start();
        let before = test.key();
        test.initialise_anew(PIN);
        for _ in 0..requests_in_between {
            let error = sign(&before).unwrap_err();
            assert!(error.contains("no private key matches"), "{error}");
        }
        test.create_key(PIN);
        test.serves_the_new_key(&before);
        assert_eq!(test.0.refused_logins(), 0);
    }
}

/// The configured PIN is tried once, then no more, until another one is configured; that one is right.
#[test]
fn a_configured_pin_that_the_token_refused_is_not_tried_again() {
    for requests_in_between in [0, 1, 2, 30] {
        let test = Reinit::start();
        let before = test.key();
        test.initialise_anew(OTHER_PIN);
        test.create_key(OTHER_PIN);
        if requests_in_between > 0 {
            // SoftHSM2 goes by the PIN of before until it is initialised anew.
            test.0.rules(LOST_INITIALISATION);
        }
        for request in 0..requests_in_between {
            let error = sign(&before).unwrap_err();
            let said = match request {
                0 => "wrong PIN for token",
                _ => "refused this PIN before; it is not tried again",
            };
            assert!(
                error.contains(said) && error.contains("configure"),
                "{error}"
            );
        }
        test.0.rules("");
        // The same PIN, read again, is as wrong as it was.
        test.configure(PIN);
        for _ in 0..requests_in_between {
            let error = sign(&before).unwrap_err();
            assert!(error.contains("refused this PIN before"), "{error}");
        }
        assert_eq!(
            test.0.refused_logins(),
            usize::from(requests_in_between > 0)
        );

        test.configure(OTHER_PIN);
        test.serves_the_new_key(&before);
        assert!(test.0.refused_logins() <= 1, "{}", test.0.refused_logins());
    }
}

/// The PIN was changed, nothing else; the login of before lasts until the new PIN is configured.
#[test]
fn a_pin_changed_by_another_program_is_taken_from_the_configuration() {
    let test = Reinit::start();
    let key = test.key();
    let change = ["--change-pin", "--new-pin", OTHER_PIN];
    test.hsm().pkcs11_tool(&change);
    openssl::verify_all_schemes(&key);
    test.configure(OTHER_PIN);
    // All who come at once.
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| sign(&key).unwrap());
        }
    });
    openssl::verify_all_schemes(&key);
    assert!(test.0.refused_logins() <= 1, "{}", test.0.refused_logins());
}

/// A signer that has its PIN from a file, on a token whose calls are counted.
struct Reinit(Faulty);

impl Reinit {
    fn start() -> Self {
        let hsm = Faulty::tokens();
        write_pin(&hsm, PIN);
        let uri = format!(
            "pkcs11:token=device?pin-source={}",
            hsm.file(PIN_FILE).display()
        );
        let signer = Signer::spawn(&hsm, Faulty::command(&hsm).args(["--uri", &uri]));
        let test = Self(Faulty { signer, hsm });
        test.create_key(PIN);
        openssl::verify_all_schemes(&test.key());
        test
    }

    fn hsm(&self) -> &support::Hsm {
        &self.0.hsm
    }

    fn key(&self) -> SocketKey {
        self.0.key("device")
    }

    /// All objects are gone then.
    fn initialise_anew(&self, pin: &str) {
        let mut command = self.hsm().command("softhsm2-util");
        command.args(["--init-token", "--token", "device", "--label", "device"]);
        succeed(command.args(["--so-pin", SO_PIN, "--pin", pin]));
    }

    fn create_key(&self, pin: &str) {
        let make = ["--keypairgen", "--key-type", "EC:prime256v1"];
        let named = ["--id", "01", "--label", "key"];
        self.hsm()
            .pkcs11_tool_with_pin(pin, &[&make[..], &named].concat());
    }

    /// Configures the PIN and has it read.
    fn configure(&self, pin: &str) {
        write_pin(self.hsm(), pin);
        let read = |log: String| log.matches("configuration read again").count();
        let before = read(self.0.signer.log());
        self.0.signer.signal(Signal::HUP);
        let deadline = Instant::now() + Duration::from_secs(60);
        while read(self.0.signer.log()) == before {
            assert!(Instant::now() < deadline, "the configuration is not read");
            std::thread::yield_now();
        }
    }

    /// Panics unless it signs at once with the key that is on the token now, and with no other.
    fn serves_the_new_key(&self, before: &SocketKey) {
        let signature = before.sign(before.schemes()[0], MESSAGE).unwrap();
        let after = self.key();
        assert_ne!(before.public_key(), after.public_key());
        openssl::verify(after.public_key(), after.schemes()[0], MESSAGE, &signature);
        openssl::verify_all_schemes(&after);
    }
}

fn write_pin(hsm: &support::Hsm, pin: &str) {
    let mut file = std::fs::File::options();
    let file = file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(hsm.file(PIN_FILE)).unwrap();
    std::io::Write::write_all(&mut file, pin.as_bytes()).unwrap();
}

fn sign(key: &SocketKey) -> Result<Vec<u8>, String> {
    let signature = key.sign(key.schemes()[0], MESSAGE);
    signature.map_err(|error| error.to_string())
}

const MESSAGE: &[u8] = b"message";
const CLIENTS: usize = 20;
const PIN_FILE: &str = "configured-pin";
