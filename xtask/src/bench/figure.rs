//! A figure: the median of its runs, as one line of JSON.

use anyhow::{Result, ensure};
use serde::Serialize;

/// Fewer runs than this make no figure.
pub const RUNS_MIN: usize = 5;

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Mebibytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// Events a second.
    #[serde(rename = "/s")]
    PerSecond,
    /// Ratios and counts.
    #[serde(rename = "1")]
    One,
}

/// A figure.
#[derive(Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as in BENCHMARKS.md.
    pub name: &'static str,
    /// The median.
    pub value: f64,
    /// What it is counted in.
    pub unit: Unit,
    /// How many runs.
    pub n: usize,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The disk's own time for a synced write of 4 KiB, p99 in milliseconds, measured beside the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_sync_ms_p99: Option<f64>,
}

impl Figure {
    /// The figure of the given runs.
    pub fn of(name: &'static str, unit: Unit, runs: &[f64]) -> Result<Self> {
        ensure!(
            runs.len() >= RUNS_MIN,
            "{name}: {} runs make no figure, {RUNS_MIN} do",
            runs.len()
        );
        let (min, value, max) = spread(runs);
        Ok(Self { name, value, unit, n: runs.len(), min, max, disk_sync_ms_p99: None })
    }

    /// A count that is the same in every run: one is enough.
    pub fn counted(name: &'static str, unit: Unit, value: f64) -> Self {
        Self { name, value, unit, n: 1, min: value, max: value, disk_sync_ms_p99: None }
    }

    /// The ratio of two medians; its least and most are those of the single runs, which were interleaved.
    pub fn ratio(name: &'static str, ours: &[f64], baseline: &[f64]) -> Result<Self> {
        let pairs: Vec<f64> =
            ours.iter().zip(baseline).map(|(ours, baseline)| ours / baseline).collect();
        let mut figure = Self::of(name, Unit::One, &pairs)?;
        figure.value = spread(ours).1 / spread(baseline).1;
        Ok(figure)
    }
}

/// The least, the median and the most.
pub fn spread(runs: &[f64]) -> (f64, f64, f64) {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    };
    (at(0), median, at(sorted.len().wrapping_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median() {
        let check = |runs: &[f64], expected: (f64, f64, f64)| {
            assert_eq!(spread(runs), expected, "{runs:?}");
        };
        check(&[3.0, 1.0, 2.0], (1.0, 2.0, 3.0));
        check(&[4.0, 1.0, 3.0, 2.0], (1.0, 2.5, 4.0));
        check(&[7.0], (7.0, 7.0, 7.0));
        assert!(Figure::of("x", Unit::One, &[1.0; 4]).is_err());
    }

    #[test]
    fn a_ratio_is_of_medians() {
        let figure =
            Figure::ratio("x", &[2.0, 2.0, 2.0, 2.0, 20.0], &[1.0, 1.0, 1.0, 1.0, 1.0]).unwrap();
        assert_eq!((figure.value, figure.min, figure.max), (2.0, 2.0, 20.0));
        let line = serde_json::to_string(&figure).unwrap();
        assert_eq!(line, r#"{"name":"x","value":2.0,"unit":"1","n":5,"min":2.0,"max":20.0}"#);
    }
}
