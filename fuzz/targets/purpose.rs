//! Recognition of purposes: no message is the beginning of another, but for TLS 1.3 with SHA-384,
//! which begins like one with SHA-256.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tedge_p11_protocol::{PublicKey, SignatureScheme};
use tedge_p11_purpose::{Purpose, recognize};

fuzz_target!(|input: &[u8]| {
    let accepted =
        |message| recognize(message, SignatureScheme::ECDSA_SECP256R1_SHA256, Some(&KEY));
    let Ok(purpose) = accepted(input) else {
        return;
    };
    let check = |len| {
        let is_sha256 = purpose == Purpose::Tls13Client && len == 64 + 34 + 32;
        let cut = accepted(&input[..len]);
        assert!(is_sha256 || cut.is_err(), "{purpose} cut to {len}");
    };
    // Not all of them each time: most of a corpus is accepted.
    let step = 1 + input.len() / 16;
    (input.len() % step..input.len())
        .step_by(step)
        .for_each(check);
    check(input.len() - 1);
    assert!(
        accepted(&[input, &[0]].concat()).is_err(),
        "{purpose} extended"
    );
});

static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
    let spki = include_bytes!("../../rust/tedge-p11-purpose/tests/messages/p256.spki");
    PublicKey::from_spki(spki).expect("a SubjectPublicKeyInfo")
});
