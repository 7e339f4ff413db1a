//! The checks of `doctor`, from the device node to the broker, one file an area.

mod args;
mod bridge_table;
mod broker;
mod certificate;
mod clock;
mod config;
mod context;
mod cures;
mod devices;
mod finding;
mod keys;
mod module;
mod policy;
mod programs;
mod report;
mod services;
mod signer;
mod text;
mod tokens;
mod unit;
mod units;

pub(crate) use args::Args;
pub(crate) use context::{Context, within};
pub(crate) use report::Report;
pub(crate) use units::Units;

/// Makes all checks.
pub(crate) fn examine(context: &Context<'_>, report: &mut Report) {
    devices::check(context, report);
    let services_run = services::check(context, report);
    let module = module::check(context, services_run, report);
    let login = tokens::check(context, module.as_ref(), report);
    config::check(context, report);
    let signer = signer::check(context, report);
    let policy = policy::check(context, report);
    let keys = keys::check(context, signer.as_ref(), login, report);
    if let (Some(_), Some(policy)) = (&signer, &policy) {
        for key in &keys {
            policy::check_purposes(policy, key, report);
        }
    }
    programs::check(context, signer.is_some(), report);
    clock::check(context, report);
    let certified = certificate::check(context, &keys, report);
    broker::check(context, certified.as_ref(), report);
}
