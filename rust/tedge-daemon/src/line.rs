//! One entry is one line.

/// What is quoted in `text`, from a file, a module or a broker, must not begin a line of its own.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
