//! What the signer's policy refuses, and what a CA or cloud refuses for good.

use tedge_p11_client::{Error, Reason};

/// A CA or cloud has refused a request, and would refuse the same one again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct ForGood(pub(crate) anyhow::Error);

/// What a unit's log says of an enrolment that is not tried again.
#[derive(Debug, thiserror::Error)]
#[error("given up: correct what is wrong, then start tedge-hsm-enroll.service again")]
pub(crate) struct GivenUp;

/// For a unit: with other words in front, which decide about the exit code, where trying again would change nothing.
pub(crate) fn given_up(error: anyhow::Error) -> anyhow::Error {
    if error.is::<ForGood>() {
        error.context(GivenUp)
    } else {
        error
    }
}

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
