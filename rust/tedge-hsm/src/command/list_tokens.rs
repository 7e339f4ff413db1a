//! `list-tokens`: the tokens, blank ones too.

use crate::command::say;
use crate::store::Store;

pub(crate) fn run(store: &Store) -> anyhow::Result<()> {
    for token in store.tokens()? {
        let state = if token.initialized {
            "initialised"
        } else {
            "blank"
        };
        say(format_args!("{}\tslot {}\t{state}", token.uri, token.slot))?;
    }
    Ok(())
}
