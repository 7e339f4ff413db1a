//! A refusal of the caller's own.

/// Why a caller may not do something: the error that it gets, of a type that this crate does not know.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;
