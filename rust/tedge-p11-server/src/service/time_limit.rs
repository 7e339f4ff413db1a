//! How long a request may take.

use std::time::Duration;

use tedge_p11_config::Operation;

/// Less than clients wait, but for what makes a token work long.
pub(crate) fn time_limit(operation: Operation) -> Duration {
    match operation {
        Operation::CreateKey | Operation::InitToken => Duration::from_secs(140),
        _ => Duration::from_secs(25),
    }
}
