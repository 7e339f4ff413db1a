//! PKCS#7 messages: the certificates are parts of them, one behind the other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_hsm::pkcs7_certificates;

fuzz_target!(|input: &[u8]| {
    let Some(certificates) = pkcs7_certificates(input) else {
        return;
    };
    let total: usize = certificates
        .iter()
        .map(|certificate| certificate.len())
        .sum();
    assert!(total < input.len());
    assert!(
        certificates
            .iter()
            .all(|certificate| certificate[0] == 0x30)
    );
    assert!(
        pkcs7_certificates(&[input, &[0]].concat()).is_none(),
        "extended"
    );
});
