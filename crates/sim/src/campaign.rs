//! Many seeds, and what they found together.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    checks::Violation,
    dials::Dials,
    driver::{Report, run},
    generate::generate,
    scenario::Scenario,
};

/// Which seeds, and how much each has to do.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Jobs in all.
    pub jobs: usize,
    /// How often each kind of trouble is drawn.
    pub dials: Dials,
}

impl Campaign {
    /// How many jobs a seed queues: the same for all, and one more for the first ones where it does not come out even.
    #[must_use]
    pub fn jobs_of(&self, seed: u64) -> usize {
        let seeds = usize::try_from(self.seeds.max(1)).unwrap_or(usize::MAX);
        let at = usize::try_from(seed - self.first_seed).unwrap_or(usize::MAX);
        self.jobs / seeds + usize::from(at < self.jobs % seeds)
    }

    /// The scenario of a seed.
    #[must_use]
    pub fn scenario(&self, seed: u64) -> Scenario {
        generate(seed, self.jobs_of(seed), &self.dials)
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// Where the simulation itself could not be set up.
    pub fn run_seed(&self, seed: u64, keep_log: bool) -> Result<Report, String> {
        run(&self.scenario(seed), keep_log)
    }
}

/// What a campaign found: the one line that programs read.
#[derive(Debug, Serialize)]
pub struct Total {
    /// Seeds run.
    pub seeds: u64,
    /// Jobs queued.
    pub jobs: usize,
    /// Time that passed outside.
    pub simulated_hours: f64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often a promise was looked at.
    pub checks: u64,
    /// Exceptions that the promises make, by their cause.
    pub excused: BTreeMap<&'static str, u64>,
    /// Broken promises.
    pub violations: usize,
    /// Jobs by the wall time of one thread.
    pub jobs_per_second: f64,
    /// Of the logs of all seeds.
    pub log_hash: String,
}

/// Adds up reports.
#[derive(Debug, Default)]
pub struct Tally {
    seeds: u64,
    jobs: usize,
    simulated: Duration,
    faults: BTreeMap<&'static str, u64>,
    excused: BTreeMap<&'static str, u64>,
    checks: u64,
    violations: usize,
    hash: Sha256,
}

impl Tally {
    /// Adds one; its violations are handed back.
    pub fn add(&mut self, report: Report) -> Vec<Violation> {
        self.seeds += 1;
        self.jobs += report.jobs;
        self.simulated += report.simulated;
        self.checks += report.checks;
        self.violations += report.violations.len();
        self.hash.update(report.hash);
        for (into, from) in [(&mut self.faults, report.faults), (&mut self.excused, report.excused)]
        {
            for (kind, count) in from {
                *into.entry(kind).or_default() += count;
            }
        }
        report.violations
    }

    /// How far it is.
    #[must_use]
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// The sum, after so much wall time.
    #[must_use]
    pub fn total(&self, took: Duration) -> Total {
        let mut log_hash = String::new();
        for byte in self.hash.clone().finalize() {
            // Writing into a String does not fail.
            let _ = write!(log_hash, "{byte:02x}");
        }
        Total {
            seeds: self.seeds,
            jobs: self.jobs,
            simulated_hours: (self.simulated.as_secs_f64() / 36.0).round() / 100.0,
            faults: self.faults.clone(),
            checks: self.checks,
            excused: self.excused.clone(),
            violations: self.violations,
            jobs_per_second: (self.jobs as f64 / took.as_secs_f64().max(1e-9)).round(),
            log_hash,
        }
    }
}
