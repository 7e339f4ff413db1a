//! Ways that are measured in turns, so that what else the machine does meets all of them.

use std::fmt;

use serde::Serialize;

/// The results: of the baseline, of each other way once between two of the baseline, and so on.
pub struct Turns<T> {
    baseline: Vec<T>,
    others: Vec<Vec<T>>,
}

impl<T> Turns<T> {
    /// Measures `ways` ways `rounds` times, and the first, which is the baseline, once more at the end.
    /// `measure` is given the way's number.
    pub fn measure(
        ways: usize,
        rounds: usize,
        mut measure: impl FnMut(usize) -> anyhow::Result<T>,
    ) -> anyhow::Result<Self> {
        let mut baseline = vec![measure(0)?];
        let mut others: Vec<Vec<T>> = (1..ways).map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (number, results) in others.iter_mut().enumerate() {
                results.push(measure(number + 1)?);
            }
            baseline.push(measure(0)?);
        }
        Ok(Self { baseline, others })
    }

    /// All results of a way, in the order of their measurement.
    pub fn of(&self, way: usize) -> &[T] {
        match way {
            0 => &self.baseline,
            other => &self.others[other - 1],
        }
    }

    /// What a way got in each round, divided by the mean of the baselines just before and just after;
    /// the median of the rounds.
    pub fn ratio(&self, way: usize, value: impl Fn(&T) -> f64) -> f64 {
        if way == 0 {
            return 1.0;
        }
        median(self.ratios(way, value))
    }

    /// The same, of each round; not of the baseline.
    pub fn ratios(&self, way: usize, value: impl Fn(&T) -> f64) -> impl Iterator<Item = f64> {
        self.of(way)
            .iter()
            .zip(self.baseline.windows(2))
            .map(move |(result, around)| {
                2.0 * value(result) / (value(&around[0]) + value(&around[1]))
            })
    }

    /// The median of a way's results.
    pub fn median(&self, way: usize, value: impl Fn(&T) -> f64) -> f64 {
        median(self.of(way).iter().map(value))
    }
}

/// Results that differ.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        Self {
            median: median(values.iter().copied()),
            lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
            highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl fmt::Display for Spread {
    /// With the formatter's width and precision for each of the three.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.median.fmt(f)?;
        f.write_str(" (")?;
        self.lowest.fmt(f)?;
        f.write_str(" to ")?;
        self.highest.fmt(f)?;
        f.write_str(")")
    }
}

/// Of an even number of values it is the mean of the two in the middle. NaN without any.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (len, middle) if len % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        (_, middle) => values[middle],
    }
}
