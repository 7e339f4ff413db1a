//! Who waits, for what, and in which order: places for connections, then turns on the tokens.

pub(crate) mod calls;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod limits;
