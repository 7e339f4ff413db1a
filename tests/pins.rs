//! PINs that a token refuses, or is not sure of, are not given to it again. The module misbehaves on command
//! (tests/faulty-module).

use support::Faulty;
use support::faulty::CODES;
use support::healing::heals;
use support::hsm::{PIN, SO_PIN};
use tedge_p11_client::{Client, Error, Pin};

const TOKEN: Option<&str> = Some("pkcs11:token=device");

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

/// To the second PIN from the first.
type Change = fn(&Client, &str, &str) -> Result<(), Error>;

fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned()).unwrap()
}

fn change_pin(client: &Client, old: &str, new: &str) -> Result<(), Error> {
    client.change_pin(TOKEN, Some(&pin(old)), &pin(new))
}

fn change_so_pin(client: &Client, old: &str, new: &str) -> Result<(), Error> {
    client.change_so_pin(TOKEN, &pin(old), &pin(new))
}

fn reset_pin(client: &Client, new: &str) -> Result<(), Error> {
    client.reset_pin(TOKEN, &pin(SO_PIN), &pin(new))
}
