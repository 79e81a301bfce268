//! How fast the loop is, measured where it happens.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// How many of the newest samples of a kind are kept: a burst of 1,000 fits four times over, in 64 KiB.
const SAMPLES_MAX: usize = 4_096;

/// The spread of a duration, in milliseconds, over the newest 4,096 samples; `n` and `max` are over all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many samples there were.
    pub n: u64,
    /// Half of the samples were at most this.
    pub p50: f64,
    /// Ninety-nine in a hundred were at most this.
    pub p99: f64,
    /// The longest ever.
    pub max: f64,
}

/// How fast the loop is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Passes so far.
    pub passes: u64,
    /// Commits that reached the disk.
    pub commits: u64,
    /// What was known (a message, an answer, an event) → the plan made from it: the controller's own work.
    pub pass_ms: Spread,
    /// A batch goes to the store → it has reached the disk.
    pub commit_ms: Spread,
    /// The evidence that a pass read arrives → the create call of a runner that the pass planned begins.
    pub evidence_to_create_ms: Spread,
}

/// The newest samples of one kind.
#[derive(Default)]
struct Samples {
    newest: VecDeque<Duration>,
    n: u64,
    max: Duration,
}

impl Samples {
    fn add(&mut self, sample: Duration) {
        if self.newest.len() == SAMPLES_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(sample);
        self.n += 1;
        self.max = self.max.max(sample);
    }

    fn spread(&self) -> Spread {
        let mut sorted: Vec<Duration> = self.newest.iter().copied().collect();
        sorted.sort_unstable();
        // The nearest rank: the smallest sample that `percent` of a hundred do not exceed.
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).map_or(0.0, milliseconds)
        };
        Spread { n: self.n, p50: rank(50), p99: rank(99), max: milliseconds(&self.max) }
    }
}

fn milliseconds(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[derive(Default)]
struct Recorded {
    passes: Samples,
    commits: Samples,
    creates: Samples,
}

/// Takes samples from the controller and from the calls.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

impl Recorder {
    pub(crate) fn pass(&self, took: Duration) {
        self.recorded().passes.add(took);
    }

    pub(crate) fn commit(&self, took: Duration) {
        self.recorded().commits.add(took);
    }

    pub(crate) fn create(&self, since_evidence: Duration) {
        self.recorded().creates.add(since_evidence);
    }

    pub(crate) fn timings(&self) -> Timings {
        let recorded = self.recorded();
        Timings {
            passes: recorded.passes.n,
            commits: recorded.commits.n,
            pass_ms: recorded.passes.spread(),
            commit_ms: recorded.commits.spread(),
            evidence_to_create_ms: recorded.creates.spread(),
        }
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_the_ranks() {
        let check = |samples: &[u64], expected: (u64, f64, f64, f64)| {
            let mut kept = Samples::default();
            for ms in samples {
                kept.add(Duration::from_millis(*ms));
            }
            let spread = kept.spread();
            assert_eq!(
                (spread.n, spread.p50, spread.p99, spread.max),
                expected,
                "{} samples",
                samples.len()
            );
        };
        check(&[], (0, 0.0, 0.0, 0.0));
        check(&[7], (1, 7.0, 7.0, 7.0));
        check(&[3, 1, 2], (3, 2.0, 3.0, 3.0));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        check(&hundred, (100, 50.0, 99.0, 100.0));
        // The oldest go; the longest ever stays.
        let many: Vec<u64> =
            std::iter::once(9_000).chain(std::iter::repeat_n(5, SAMPLES_MAX)).collect();
        check(&many, (SAMPLES_MAX as u64 + 1, 5.0, 5.0, 9_000.0));
    }
}
