//! Files with certificates: what is found is in its file, or in its base64, and is found again alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_p11_client::{certificate_public_key, parse_certificates};

fuzz_target!(|input: &[u8]| {
    match parse_certificates(input) {
        Err(error) => assert!(!error.to_string().contains('\n')),
        Ok(certificates) => {
            assert!(!certificates.is_empty());
            for certificate in certificates {
                assert!(certificate.len() < input.len() + 1);
                assert!(certificate_public_key(&certificate).is_some());
                let again = parse_certificates(&certificate).expect("it was one");
                assert_eq!(again, [certificate]);
            }
        }
    }
});
