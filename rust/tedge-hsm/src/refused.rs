//! What the signer's policy refuses.

use tedge_p11_client::{Error, Reason};

/// Whether it was the signer's policy that refused.
pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<Error>(),
        Some(Error::Explained {
            reason: Reason::Refused,
            ..
        })
    )
}
