//! What the signer's word on a token tells of its PIN.

use tedge_p11_client::{Status, TokenStatus};

/// In the word that `status --json` has for it, which docs/json.md explains.
pub(crate) fn pin(status: &Status, token: &TokenStatus) -> &'static str {
    // A token that takes no PIN is in no trouble otherwise. Who may change nothing is not told which token it was.
    let is_about = status.tokens.len() == 1 || status.last_error.contains(&token.uri);
    let is_recent = status.last_error_age < RECENT;
    match (state(&token.trouble), state(&status.last_error)) {
        ("ok", last) if is_about && is_recent && last != "unknown" => last,
        (now, _) => now,
    }
}

fn state(trouble: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| trouble.contains(word));
    if trouble.is_empty() {
        "ok"
    } else if says(&["CKR_PIN_LOCKED"]) {
        "locked"
    } else if says(&["PIN_FINAL_TRY"]) {
        "final-try"
    } else if says(&[
        "not tried for an hour",
        "one tried in an hour",
        "are not looked at",
    ]) {
        "waits"
    } else if says(&["CKR_PIN_INCORRECT", "refused this PIN before"]) {
        "wrong"
    } else if says(&["needs its user PIN"]) {
        "missing"
    } else {
        "unknown"
    }
}

/// In seconds. The bridge asks for the key every minute.
const RECENT: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    /// The words are those of the token crate.
    #[test]
    fn the_words_of_the_signer_are_understood() {
        use tedge_p11_client::Uri;
        use tedge_p11_token::Error;
        let token = || "pkcs11:token=t".parse::<Uri>().unwrap();
        for (error, word) in [
            (Error::PinLocked(token()), "locked"),
            (Error::PinNeeded(token()), "missing"),
            (Error::PinRefusedBefore(token()), "wrong"),
            (Error::NoKeyAtAll, "unknown"),
        ] {
            assert_eq!(state(&error.to_string()), word, "{error}");
        }
        assert_eq!(state(""), "ok");
    }
}
