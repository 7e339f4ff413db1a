//! Text of others, for a person's terminal.

/// `text` in one line, without what a terminal could obey or what could make it look like another text: control
/// characters, and Unicode's format characters (those that turn the direction, those that can't be seen). Each is
/// shown as U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    text.replace(is_deceptive, "\u{fffd}")
}

/// The same for a text of several lines, as this program has put together: the ends of lines and tabs stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.replace(|c| !matches!(c, '\n' | '\t') && is_deceptive(c), "\u{fffd}")
}

/// The Unicode character database's general categories Cc, Zl, Zp, and of Cf what has to do with direction or is
/// invisible.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing() {
        let text = "ä\x1b[2J\u{9b}2J\u{202e}gpj\u{2066}\u{200b}\u{7f}\n\tb";
        let shown = "ä\u{fffd}[2J\u{fffd}2J\u{fffd}gpj\u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(printable(text), format!("{shown}\u{fffd}\u{fffd}b"));
        assert_eq!(printable_lines(text), format!("{shown}\n\tb"));
    }
}
