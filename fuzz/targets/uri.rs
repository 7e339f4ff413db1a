//! PKCS#11 URIs: what is shown of one means the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_p11_protocol::Uri;

fuzz_target!(|input: &[u8]| {
    let Some(uri) = std::str::from_utf8(input)
        .ok()
        .and_then(|text| text.parse::<Uri>().ok())
    else {
        return;
    };
    // What the query says is not shown.
    let shown = Uri {
        pin: None,
        module_path: None,
        module_name: None,
        ..uri.clone()
    };
    assert_eq!(uri.to_string().parse(), Ok(shown.clone()));
    assert_eq!(uri.clone().confined_to(&uri), uri);
    assert_eq!(Uri::default().confined_to(&uri), uri);
});
