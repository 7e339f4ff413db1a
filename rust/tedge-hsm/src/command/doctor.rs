//! `doctor`: looks at everything between the HSM and the broker, and says what to do next.

use crate::doctor::{self, Context, Report};
use crate::place::Place;

pub(crate) use crate::doctor::Args;

pub(crate) fn run(place: &Place, args: Args) -> anyhow::Result<()> {
    let json = args.json;
    let context = Context::new(place, args);
    if let Some(profile) = context.profile {
        profile.provide_environment()?;
    }
    let mut report = Report::new(json);
    doctor::examine(&context, &mut report);
    report.finish()
}
