//! Which key a request is about.

use tedge_p11_protocol::Uri;

/// Which private key is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // it lives for one request
pub enum KeySelector {
    /// The one that the URI leaves.
    Uri(Uri),
    /// The first one found, for a request without a URI on a signer without one.
    First,
}

impl KeySelector {
    pub(crate) fn uri(&self) -> Option<&Uri> {
        match self {
            Self::Uri(uri) => Some(uri),
            Self::First => None,
        }
    }

    /// The same for every selector that means the same; holds no PIN.
    pub(crate) fn cache_key(&self) -> String {
        self.uri().map(ToString::to_string).unwrap_or_default()
    }
}
