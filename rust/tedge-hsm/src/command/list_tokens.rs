//! `list-tokens`: the tokens, blank ones too.

use crate::output::{note, say, say_json};
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
One line for each token, with tabs between URI, slot and state. What --json prints is in docs/json.md. No PIN is needed.

Examples:
  tedge-hsm list-tokens
  tedge-hsm --module-path /usr/lib/softhsm/libsofthsm2.so list-tokens --json")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(store: &Store, args: &Args) -> anyhow::Result<()> {
    let tokens = store.tokens()?;
    if args.json {
        return say_json(&tokens);
    }
    if tokens.is_empty() && matches!(store, Store::Signer(_)) {
        note("the signer sees no token: is the device plugged in? Its log says more");
    }
    for token in tokens {
        let state = if token.initialized {
            "initialised"
        } else {
            "blank"
        };
        say(format_args!("{}\tslot {}\t{state}", token.uri, token.slot))?;
    }
    Ok(())
}
