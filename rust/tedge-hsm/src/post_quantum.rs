//! Whether a connection has to withstand quantum computers (docs/post-quantum.md).

use tedge_tls::PostQuantum;

/// The option of each command that connects.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(id = "post_quantum")]
pub(crate) struct Args {
    /// Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers
    /// of tomorrow (docs/post-quantum.md)
    #[arg(long)]
    require_post_quantum: bool,
}

impl Args {
    /// It is preferred where it is not required.
    pub(crate) fn wanted(self) -> PostQuantum {
        if self.require_post_quantum {
            PostQuantum::Require
        } else {
            PostQuantum::Prefer
        }
    }
}
