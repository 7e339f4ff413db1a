//! What was aimed at, and whether it was reached.

use std::fmt;

use serde::Serialize;

/// One figure with the bound that it should keep.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    what: String,
    measured: f64,
    bound: Bound,
    unit: &'static str,
    met: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    /// `measured` should be `bound` or more; both in `unit`.
    pub fn at_least(what: String, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self {
            what,
            measured,
            bound: Bound::AtLeast(bound),
            unit,
            met: measured >= bound,
        }
    }

    /// `measured` should be `bound` or less; both in `unit`.
    pub fn at_most(what: String, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self {
            what,
            measured,
            bound: Bound::AtMost(bound),
            unit,
            met: measured <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => (">=", bound),
            Bound::AtMost(bound) => ("<=", bound),
        };
        // A miss must not look like a hit because of rounding.
        let (measured, unit) = (self.measured, self.unit);
        write!(
            f,
            "{}: {measured:.2} {unit}, target {sign} {bound} {unit}",
            self.what
        )
    }
}

/// Says how many were met, and which were missed.
pub fn print_summary(targets: &[Target]) {
    let (met, missed): (Vec<_>, Vec<_>) = targets.iter().partition(|target| target.met);
    println!("\ntargets: {} met, {} missed", met.len(), missed.len());
    for target in missed {
        println!("missed: {target}");
    }
}
