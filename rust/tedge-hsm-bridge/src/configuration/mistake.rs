//! What is wrong with a configuration, and where.

use toml::Spanned;

/// What is wrong, and at which byte of the file.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: usize,
    pub(super) message: String,
}

pub(super) fn mistake<T>(at: &Spanned<T>, message: impl Into<String>) -> Mistake {
    Mistake {
        at: at.span().start,
        message: message.into(),
    }
}
