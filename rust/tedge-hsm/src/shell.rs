//! Commands that a person is told to type.

use std::fmt::Display;

/// `word` as a POSIX shell takes it for one word and nothing else, whatever is in it: paths and URIs may come from a file that
/// another user writes.
pub(crate) fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_shell_gets_the_same_word_back() {
        assert_eq!(quoted("/etc/tedge/x-1.pem"), "/etc/tedge/x-1.pem");
        for word in [
            "",
            "/p;touch pwned #",
            "pkcs11:token=a;object=b",
            "a'b",
            "'",
            "$(id) `id` \\ \" ~ * \u{e4}",
            "-rf",
        ] {
            let script = format!("printf %s {}", quoted(word));
            let shell = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), word);
        }
    }
}
