//! PINs that a token refuses, or is not sure of, are not given to it again. The module misbehaves on command
//! (tests/faulty-module).

use support::faulty::{CODES, key_uri};
use support::healing::{heals, sign};
use support::hsm::{PIN, SO_PIN};
use support::{Faulty, Hsm, Kind, Signer, parse_uri, succeed};
use tedge_p11_client::{Client, Error, Pin, SocketKey};

const TOKEN: &str = "pkcs11:token=device";

/// The old PIN is wrong then: tried again, it would spend a try.
#[test]
fn a_logout_that_fails_after_a_change_does_not_repeat_it() {
    let faulty = Faulty::start();
    let client = faulty.signer.client();
    let before = faulty.calls("C_Login");
    faulty.rules("C_Logout slot=device return CKR_DEVICE_ERROR");
    change_so_pin(&client, SO_PIN, "11223344").unwrap();
    change_so_pin(&client, "11223344", SO_PIN).unwrap();
    reset_pin(&client, "7777").unwrap();
    reset_pin(&client, PIN).unwrap();
    assert_eq!(faulty.calls("C_Login") - before, 4);
    faulty.rules("");
    heals(&faulty.key("device"));
}

/// Whatever the code is: the PIN may have been changed all the same.
#[test]
fn a_change_that_fails_is_not_repeated() {
    let faulty = Faulty::start();
    let client = faulty.signer.client();
    let key = faulty.key("device");
    for (function, change, old) in [
        ("C_SetPIN", change_so_pin as Change, SO_PIN),
        ("C_SetPIN", change_pin, PIN),
        ("C_InitPIN", |client, _, new| reset_pin(client, new), SO_PIN),
    ] {
        for code in CODES {
            let before = faulty.calls(function);
            faulty.rules(&format!("{function} slot=device return {code}"));
            let error = change(&client, old, "7777").unwrap_err().to_string();
            assert!(error.contains(code), "{function} {code}: {error}");
            assert_eq!(faulty.calls(function) - before, 1, "{function} {code}");
        }
    }
    faulty.rules("");
    heals(&key);
}

/// C_SetPIN counts wrong PINs as C_Login does, also on a token that has long been open.
#[test]
fn an_old_pin_that_is_refused_is_not_tried_again() {
    let faulty = Faulty::start();
    let client = faulty.signer.client();
    // From now on the token is open.
    heals(&faulty.key("device"));
    for (change, old) in [(change_pin as Change, PIN), (change_so_pin, SO_PIN)] {
        let before = faulty.calls("C_SetPIN");
        faulty.rules("C_SetPIN slot=device return CKR_PIN_INCORRECT");
        let error = change(&client, old, "7777").unwrap_err().to_string();
        assert!(error.contains("CKR_PIN_INCORRECT"), "{error}");
        for _ in 0..3 {
            let error = change(&client, old, "7777").unwrap_err().to_string();
            assert!(error.contains("refused this PIN before"), "{error}");
        }
        assert_eq!(faulty.calls("C_SetPIN") - before, 1);
    }
}

/// The PIN for a key that wants it each time (CKA_ALWAYS_AUTHENTICATE) is not right any more: one wrong try,
/// however often it is asked to sign.
#[test]
fn a_pin_refused_between_signatures_is_not_tried_again() {
    let faulty = Faulty::start();
    let key = always_authenticated(&faulty);
    let logins = faulty.calls("C_Login");
    for signed in 1..=3 {
        sign(&key).unwrap();
        assert_eq!(faulty.calls("C_Login") - logins, signed);
    }
    let logins = faulty.calls("C_Login");
    faulty.rules("C_Login slot=device return CKR_PIN_INCORRECT");
    let error = sign(&key).unwrap_err().to_string();
    assert!(error.contains("CKR_PIN_INCORRECT"), "{error}");
    for _ in 0..5 {
        let error = sign(&key).unwrap_err().to_string();
        assert!(error.contains("refused this PIN before"), "{error}");
    }
    assert_eq!(faulty.calls("C_Login") - logins, 1);
}

/// CKA_ALWAYS_AUTHENTICATE: those who wait for the token while it refuses a PIN do not try it again.
#[test]
fn signers_that_queue_behind_a_refused_pin_cost_one_try() {
    let faulty = Faulty::start();
    let key = always_authenticated(&faulty);
    sign(&key).unwrap();
    let before = faulty.calls("C_Login");
    faulty.rules("C_SignInit slot=device delay 300\nC_Login slot=device return CKR_PIN_INCORRECT");
    let errors = std::thread::scope(|scope| {
        let signers = [(); 6].map(|()| scope.spawn(|| sign(&key).unwrap_err().to_string()));
        signers.map(|signer| signer.join().unwrap())
    });
    let refused = |error: &&String| error.contains("CKR_PIN_INCORRECT");
    assert_eq!(errors.iter().filter(refused).count(), 1, "{errors:?}");
    assert_eq!(faulty.calls("C_Login") - before, 1, "{errors:?}");
}

/// Such a token is open for everybody, and the PIN is compared with each signature only.
#[test]
fn a_token_without_a_login_is_no_place_to_guess_pins() {
    let faulty = Faulty::start();
    let key = always_authenticated(&faulty);
    sign(&key).unwrap();
    // SoftHSM2 shows the key to a session without a login as long as another one is left.
    faulty.rules(
        "C_CloseSession slot=device return CKR_FUNCTION_FAILED\n\
         token device without CKF_LOGIN_REQUIRED",
    );
    sign(&key).unwrap();
    let guess = faulty.signer.key_with_pin(ALWAYS, "654321").unwrap();
    let error = sign(&guess).unwrap_err().to_string();
    assert!(error.contains("the PIN is not the one"), "{error}");
    assert_eq!(faulty.refused_logins(), 0);
}

/// A reader asks for the PIN itself: no client's goes there.
#[test]
fn a_token_with_a_pin_pad_gets_no_pin() {
    let faulty = Faulty::start();
    let key = always_authenticated(&faulty);
    sign(&key).unwrap();
    faulty.rules(
        "C_CloseSession slot=device return CKR_FUNCTION_FAILED\n\
         C_Login slot=device return CKR_OK 1\n\
         token device flag CKF_PROTECTED_AUTHENTICATION_PATH",
    );
    let guess = faulty.signer.key_with_pin(ALWAYS, "654321").unwrap();
    let error = sign(&guess).unwrap_err().to_string();
    // SoftHSM2 has no reader.
    assert!(
        error.contains("C_Login") && error.contains("CKR_ARGUMENTS_BAD"),
        "{error}"
    );
    assert_eq!(faulty.refused_logins(), 0);
}

/// A token that was another one for a while, or whose slot had another one, is still known.
#[test]
fn a_refused_pin_is_remembered_when_the_slot_had_another_token() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start_with(&hsm, &[]);
    let open = |token: &str| {
        let key = format!("pkcs11:token={token};object=key");
        signer.key_with_pin(&key, "654321").unwrap_err().to_string()
    };
    let initialise = |token: &str, label: &str| {
        let mut command = hsm.command("softhsm2-util");
        command.args(["--init-token", "--token", token, "--label", label]);
        succeed(command.args(["--so-pin", SO_PIN, "--pin", PIN]));
    };
    assert!(open("device").contains("wrong PIN"));
    initialise("device", "other");
    assert!(open("other").contains("wrong PIN"));
    initialise("other", "device");
    let error = open("device");
    assert!(error.contains("refused this PIN before"), "{error}");
}

/// Who guesses is not the first after a start: the configured PIN is, and it is right.
#[test]
fn a_guess_is_not_tried_before_the_configured_pin() {
    for configured in [
        &["--pin", PIN][..],
        &["--pin", PIN, "--uri", "pkcs11:token=device"],
    ] {
        let mut faulty = Faulty::start();
        if configured.len() == 2 {
            faulty.rules("token two absent");
        }
        for _ in 0..3 {
            faulty.restart(configured, false);
            let error = open(&faulty, "device", Some("654321")).unwrap_err();
            assert!(error.contains("is not the one that token"), "{error}");
            sign(&faulty.key("device")).unwrap();
        }
        assert_eq!(faulty.refused_logins(), 0);
    }
}

/// Where it may be that of another token, it is not risked for who brings one.
#[test]
fn the_configured_pin_is_tried_for_those_only_who_bring_none() {
    let mut faulty = Faulty::start();
    faulty.restart(&["--pin", "654321"], false);
    for token in ["two", "device"] {
        sign(&open(&faulty, token, Some(PIN)).unwrap()).unwrap();
    }
    assert_eq!(faulty.refused_logins(), 0);
}

/// Neither what clients send nor what is configured gets new tries by a restart.
#[test]
fn a_restart_brings_no_new_tries() {
    let mut faulty = Faulty::start();
    let wrong = &["--pin", "654321"][..];
    let refused = |faulty: &Faulty, pin: Option<&str>, said: &str| {
        let error = open(faulty, "device", pin).unwrap_err();
        assert!(error.contains(said), "{error}");
    };
    faulty.restart(wrong, true);
    refused(&faulty, None, "CKR_PIN_INCORRECT");
    for _ in 0..3 {
        faulty.restart(wrong, true);
        for _ in 0..3 {
            refused(&faulty, None, "refused this PIN before");
        }
    }
    assert_eq!(faulty.refused_logins(), 1);
    faulty.restart(&[], true);
    refused(&faulty, Some("0"), "CKR_PIN_INCORRECT");
    for guess in ["1", "2", "3"] {
        faulty.restart(&[], true);
        refused(&faulty, Some(guess), "wrong PINs were given");
    }
    assert_eq!(faulty.refused_logins(), 2);
    // The other token has tries of its own.
    faulty.restart(&["--pin", PIN], true);
    sign(&faulty.key("two")).unwrap();
    let kept = faulty.hsm.file("refused-pins");
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(
        text.contains("token=device") && !text.contains("654321"),
        "{text}"
    );

    // What the operator does who is in a hurry.
    std::fs::remove_file(&kept).unwrap();
    faulty.restart(wrong, true);
    refused(&faulty, None, "CKR_PIN_INCORRECT");
    faulty.restart(&["--pin", PIN], true);
    sign(&faulty.key("device")).unwrap();
    // The wrong one is as wrong as it was.
    faulty.restart(wrong, true);
    refused(&faulty, None, "refused this PIN before");
    assert_eq!(faulty.refused_logins(), 3);
}

/// A TPM says nothing of the tries that it has left, and counts the wrong ones of all its tokens.
#[test]
fn restarts_do_not_lock_a_tpm() {
    let hsm = Hsm::start(Kind::Tpm2);
    let uri = hsm.create_key("device", "p256");
    for guess in 0..8 {
        let mut command = Signer::command(&hsm, &hsm.module());
        command.env("STATE_DIRECTORY", hsm.dir.path());
        let signer = Signer::spawn(&hsm, &mut command);
        signer
            .key_with_pin(&uri, &format!("wrong{guess}"))
            .unwrap_err();
    }
    let signer = Signer::start(&hsm);
    sign(&signer.key(&uri)).unwrap();
}

const ALWAYS: &str = "pkcs11:token=device;object=always";

fn open(faulty: &Faulty, token: &str, pin: Option<&str>) -> Result<SocketKey, String> {
    let client = faulty.signer.client();
    SocketKey::open(client, &parse_uri(key_uri(token)), pin.map(self::pin))
        .map_err(|error| error.to_string())
}

fn always_authenticated(faulty: &Faulty) -> SocketKey {
    let make = ["--keypairgen", "--key-type", "rsa:2048", "--id", "77"];
    let named = ["--label", "always", "--always-auth"];
    faulty.hsm.pkcs11_tool(&[&make[..], &named].concat());
    faulty.signer.key(ALWAYS)
}

/// To the second PIN from the first.
type Change = fn(&Client, &str, &str) -> Result<(), Error>;

fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned()).unwrap()
}

fn change_pin(client: &Client, old: &str, new: &str) -> Result<(), Error> {
    client.change_pin(&parse_uri(TOKEN), Some(&pin(old)), &pin(new))
}

fn change_so_pin(client: &Client, old: &str, new: &str) -> Result<(), Error> {
    client.change_so_pin(&parse_uri(TOKEN), &pin(old), &pin(new))
}

fn reset_pin(client: &Client, new: &str) -> Result<(), Error> {
    client.reset_pin(&parse_uri(TOKEN), &pin(SO_PIN), &pin(new))
}
