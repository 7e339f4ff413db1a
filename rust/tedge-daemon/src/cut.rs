//! Texts of others in log lines: whoever may send a long one could otherwise fill the log with it.

use std::borrow::Cow;

/// Characters of a text that a client or a broker sent, in a log line.
pub const CLIENT_TEXT: usize = 128;
/// Characters of a text that is the daemon's own and that others have a part in, as the URI of a key that was
/// found.
pub const OWN_TEXT: usize = 512;

/// The first `most` characters of `text`, and how long it was if it is longer.
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_longer_is_cut() {
        assert_eq!(cut("", 3), "");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü… (8 bytes)");
        let long = "x".repeat(64 * 1024);
        assert_eq!(cut(&long, CLIENT_TEXT).chars().count(), 128 + 15);
    }
}
