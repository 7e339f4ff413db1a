//! A PIV card, as a YubiKey or a Nitrokey 3 is one, behind pcscd and OpenSC (tests/hsm/piv): it signs, it is
//! unplugged and plugged in, it wants its PIN for each signature of slot 9C, and wrong PINs lock it.

use std::time::Instant;

use support::healing::{PATIENCE, fails_at_once, heals, sign};
use support::hsm::PIN;
use support::{Broker, Ca, Hsm, Kind, Signer, openssl, parse_uri, succeed};
use tedge_p11_client::SocketKey;

/// Slot 9A, PIV authentication: P-256.
const AUTHENTICATION: &str = "pkcs11:id=%01;type=private";
/// Slot 9C, digital signature: P-256, with CKA_ALWAYS_AUTHENTICATE.
const SIGNATURE: &str = "pkcs11:id=%02;type=private";
/// Slot 9E, card authentication: RSA-2048, without a PIN.
const CARD: &str = "pkcs11:id=%04;type=private";

#[test]
fn signs_with_the_keys_of_the_card() {
    let Some(card) = Card::start() else { return };
    let p256 = ["ecdsa_secp256r1_sha256"];
    let rsa = ["rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"];
    for (uri, expected) in [
        (AUTHENTICATION, &p256[..]),
        (SIGNATURE, &p256),
        (CARD, &rsa),
    ] {
        let schemes = openssl::verify_all_schemes(&card.signer.key(uri));
        for scheme in expected {
            assert!(schemes.iter().any(|s| s == scheme), "{uri}: {schemes:?}");
        }
    }
}

#[test]
fn shakes_hands_with_the_keys_of_the_card() {
    let Some(card) = Card::start() else { return };
    let ca = Ca::new();
    let broker = Broker::start(&ca);
    for (name, uri) in [
        ("auth", AUTHENTICATION),
        ("sign", SIGNATURE),
        ("card", CARD),
    ] {
        let mut csr = card.signer.tedge_hsm();
        csr.args(["csr", "--common-name", name, "--uri", uri]);
        let chain = ca.issue(name, &succeed(&mut csr));
        let mut connect = card.signer.tedge_hsm();
        connect
            .args(["connect", "--host", "localhost", "--uri", uri, "--port"])
            .arg(broker.port.to_string())
            .arg("--cert")
            .arg(&chain)
            .arg("--ca")
            .arg(ca.certificate());
        let said = succeed(&mut connect);
        assert!(said.contains("TLS version       1.3"), "{said}");
        let name = format!("u'CN={name}'");
        assert!(broker.log().contains(&name), "{}", broker.log());
    }
}

/// The card allows three wrong ones.
#[test]
fn a_wrong_pin_costs_one_try() {
    let Some(card) = Card::start_with("654321") else {
        return;
    };
    assert_eq!(card.tries_left(), 3);
    for _ in 0..5 {
        for uri in [AUTHENTICATION, SIGNATURE] {
            let error = SocketKey::open(card.signer.client(), &parse_uri(uri), None)
                .unwrap_err()
                .to_string();
            assert!(error.contains("PIN"), "{error}");
        }
    }
    assert_eq!(card.tries_left(), 2);
}

/// The PIN that opened the card is wrong when it is given for the next signature.
#[test]
fn a_pin_changed_elsewhere_costs_one_try() {
    let Some(card) = Card::start() else { return };
    let key = card.signer.key(SIGNATURE);
    sign(&key).unwrap();
    card.hsm
        .pkcs11_tool(&["--change-pin", "--new-pin", "456789"]);
    // One of those who come at once has it tried.
    let errors = std::thread::scope(|scope| {
        let signers = [(); 6].map(|()| scope.spawn(|| sign(&key).unwrap_err().to_string()));
        signers.map(|signer| signer.join().unwrap())
    });
    let (tried, spared): (Vec<_>, Vec<_>) = errors
        .iter()
        .partition(|error| error.contains("CKR_PIN_INCORRECT"));
    assert_eq!(tried.len(), 1, "{errors:?}");
    for error in spared {
        assert!(error.contains("refused this PIN before"), "{error}");
    }
    assert_eq!(card.tries_left(), 2);
    let key = card.signer.key_with_pin(SIGNATURE, "456789").unwrap();
    sign(&key).unwrap();
    assert_eq!(card.tries_left(), 3);
}

/// Between the PIN and the signature of slot 9C the card takes no other command.
#[test]
fn a_key_that_wants_the_pin_each_time_signs_beside_others() {
    let Some(card) = Card::start() else { return };
    std::thread::scope(|scope| {
        for uri in [SIGNATURE, SIGNATURE, AUTHENTICATION, AUTHENTICATION] {
            let key = card.signer.key(uri);
            scope.spawn(move || {
                for _ in 0..10 {
                    sign(&key).unwrap_or_else(|error| panic!("{uri}: {error}"));
                }
            });
        }
    });
    assert!(!card.signer.log().contains("CKR_"), "{}", card.signer.log());
}

/// Also without OpenSC: C_Login with CKU_CONTEXT_SPECIFIC between C_SignInit and the signature.
#[test]
fn softhsm_keys_that_want_the_pin_each_time() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let make = |label: &str, key_type: &str| {
        let args = ["--keypairgen", "--key-type", key_type, "--label", label];
        hsm.pkcs11_tool(&[&args[..], &["--id", label, "--always-auth"]].concat());
    };
    make("01", "rsa:2048");
    make("02", "EC:prime256v1");
    let signer = Signer::start(&hsm);
    let schemes = openssl::verify_all_schemes(&signer.key("pkcs11:object=01"));
    assert!(schemes.contains(&"rsa_pss_rsae_sha256".to_owned()));
    // SoftHSM2 has no C_SignUpdate for CKM_ECDSA, and cryptoki no C_Sign without C_SignInit.
    let error = sign(&signer.key("pkcs11:object=02"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("signs by C_SignUpdate"), "{error}");
}

#[test]
fn a_card_that_is_unplugged_and_plugged_in() {
    let Some(mut card) = Card::start() else {
        return;
    };
    let token = card.token();
    for uri in [
        AUTHENTICATION.to_owned(),
        SIGNATURE.to_owned(),
        format!("{token};id=%01"),
    ] {
        let key = card.signer.key(&uri);
        for requests_in_between in [true, false, true] {
            sign(&key).unwrap();
            card.hsm.order("unplug");
            if requests_in_between {
                for _ in 0..3 {
                    fails_at_once(&key);
                }
            }
            card.hsm.order("plug");
            heals(&key);
        }
    }
}

#[test]
fn a_pcscd_that_is_restarted() {
    let Some(mut card) = Card::start() else {
        return;
    };
    let keys = [card.signer.key(AUTHENTICATION), card.signer.key(SIGNATURE)];
    for key in &keys {
        sign(key).unwrap();
        card.hsm.order("restart");
        heals(key);
    }
}

/// A signer that was started before the card was plugged in.
#[test]
fn a_card_that_comes_late() {
    let Some(mut hsm) = Hsm::start_if_possible(Kind::Piv) else {
        return;
    };
    hsm.order("unplug");
    let signer = Signer::start(&hsm);
    let open = || SocketKey::open(signer.client(), &parse_uri(AUTHENTICATION), None);
    let error = open().unwrap_err().to_string();
    assert!(error.contains("is the device plugged in?"), "{error}");
    // A list of nothing is no failure, but it is explained.
    let listed = signer.tedge_hsm().arg("list-tokens").output().unwrap();
    assert!(listed.status.success() && listed.stdout.is_empty());
    let hint = String::from_utf8(listed.stderr).unwrap();
    assert!(hint.contains("the signer sees no token"), "{hint}");
    assert!(
        signer.log().contains("no slot of the module has a token"),
        "{}",
        signer.log()
    );
    hsm.order("plug");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Ok(key) => break heals(&key),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

struct Card {
    signer: Signer,
    hsm: Hsm,
}

impl Card {
    fn start() -> Option<Self> {
        Self::start_with(PIN)
    }

    fn start_with(pin: &str) -> Option<Self> {
        let hsm = Hsm::start_if_possible(Kind::Piv)?;
        let signer = Signer::start_with(&hsm, &["--pin", pin]);
        Some(Self { signer, hsm })
    }

    /// URI of the token.
    fn token(&self) -> String {
        let listed = succeed(self.signer.tedge_hsm().arg("list-tokens"));
        listed.split('\t').next().unwrap().to_owned()
    }

    /// What the card says when asked by VERIFY without a PIN (SP 800-73-4, part 2, section 3.2.1).
    fn tries_left(&self) -> u8 {
        let mut command = self.hsm.command("opensc-tool");
        // Selected, the applet has nobody logged in.
        for apdu in [
            "00:a4:04:00:09:a0:00:00:03:08:00:00:10:00:00",
            "00:20:ff:80",
            "00:20:00:80",
        ] {
            command.args(["--send-apdu", apdu]);
        }
        let said = succeed(&mut command);
        let (_, status) = said
            .rsplit_once("SW1=0x63, SW2=0xC")
            .unwrap_or_else(|| panic!("{said}"));
        status[..1].parse().unwrap()
    }
}
