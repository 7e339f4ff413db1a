//! Percent-encoding (RFC 3986, section 2.1).

use std::fmt::Write as _;

/// `text` with all but letters, digits and `-._~` encoded, as each part of a URI may have it.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // A String takes everything.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
