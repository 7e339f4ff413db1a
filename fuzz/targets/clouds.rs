//! What clouds answer in MQTT messages: AWS's and Azure's provisioning in JSON, Cumulocity's token. The first byte says how long
//! the topic is. No text that a person would see has a control character, or is long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_hsm::{aws_texts, azure_texts, cumulocity_token};

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first() else {
        return;
    };
    let (topic, payload) = rest.split_at(rest.len().min(usize::from(*length)));
    let topic = format!("$dps/registrations/res/{}", String::from_utf8_lossy(topic));
    for text in [aws_texts(payload), azure_texts(&topic, payload)].concat() {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 8192, "{text:?}");
    }
    if let Some(token) = cumulocity_token(payload) {
        // It becomes a part of a header.
        assert!(
            token.bytes().all(|byte| byte.is_ascii_graphic()),
            "{token:?}"
        );
    }
});
