//! What an EST server wants requests to have, in DER.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_hsm::csr_attributes_texts;

fuzz_target!(|input: &[u8]| {
    let texts = csr_attributes_texts(input);
    for text in &texts {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.chars().count() < 1000, "{text:?}");
    }
});
