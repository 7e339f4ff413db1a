//! `doctor`: looks at everything between the HSM and the broker, and says what to do next;
//! collects what goes along with a bug report.

use anyhow::Context as _;

use crate::bundle::Bundle;
use crate::doctor::{self, Context, Report, Units};
use crate::output::keep_libraries_out;
use crate::place::Place;

pub(crate) use crate::doctor::Args;

pub(crate) fn run(place: &Place, args: Args) -> anyhow::Result<()> {
    let json = args.json;
    let context = Context::new(place, args);
    if let Some(profile) = context.profile {
        profile.provide_environment()?;
    }
    // Here, after the program may have been started anew.
    keep_libraries_out().context("standard error")?;
    let mut report = Report::new(json, Units::new(&context.root));
    doctor::examine(&context, &mut report);
    if let Some(path) = &context.args.bundle {
        Bundle::collect(&context, report.text())?.write(path)?;
    }
    report.finish()
}
