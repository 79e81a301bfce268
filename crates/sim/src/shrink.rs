//! Makes a failing scenario small: whatever can be taken out, while the same promise stays broken, is taken out.

use std::time::Duration;

use crate::{
    checks::Check,
    driver::run,
    scenario::{Scenario, Source, What},
};

/// Shrinks a scenario that breaks `check`, with at most so many runs.
#[must_use]
pub fn shrink(scenario: &Scenario, check: Check, runs_max: usize) -> Scenario {
    let mut shrinker = Shrinker { best: scenario.clone(), check, left: runs_max };
    loop {
        let before = (shrinker.best.items.len(), shrinker.best.clone());
        shrinker.drop_items();
        shrinker.lessen_items();
        shrinker.plain_plans();
        if shrinker.left == 0 || before.1 == shrinker.best {
            return shrinker.best;
        }
    }
}

struct Shrinker {
    best: Scenario,
    check: Check,
    left: usize,
}

impl Shrinker {
    /// Takes a candidate, if it still fails in the same way.
    fn tries(&mut self, candidate: Scenario) -> bool {
        if self.left == 0 || candidate == self.best {
            return false;
        }
        self.left -= 1;
        let fails = run(&candidate, false)
            .is_ok_and(|report| report.violations.iter().any(|found| found.check == self.check));
        if fails {
            self.best = candidate;
        }
        fails
    }

    /// Takes out runs of items, large ones first.
    fn drop_items(&mut self) {
        let mut size = self.best.items.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.best.items.len() {
                let mut candidate = self.best.clone();
                let end = (at + size).min(candidate.items.len());
                candidate.items.drain(at..end);
                if !self.tries(candidate) {
                    at += size;
                }
                if self.left == 0 {
                    return;
                }
            }
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    /// Fewer jobs, fewer strikes.
    fn lessen_items(&mut self) {
        for at in 0..self.best.items.len() {
            for less in [1, 2, 4] {
                let mut candidate = self.best.clone();
                match &mut candidate.items[at].what {
                    What::Jobs { count, .. } if *count > less => *count = less,
                    What::Github { count, .. } if *count > less as u64 => *count = less as u64,
                    What::Engine { count, .. } if *count > less as u32 => *count = less as u32,
                    What::Crash { jump_s, .. } if *jump_s != 0 => *jump_s = 0,
                    _ => break,
                }
                if self.tries(candidate) {
                    break;
                }
            }
        }
    }

    /// Plain pools, engines and durations.
    fn plain_plans(&mut self) {
        for at in 0..self.best.pools.len() {
            let mut candidate = self.best.clone();
            candidate.pools[at].warm = 0;
            self.tries(candidate);
            let mut candidate = self.best.clone();
            candidate.pools[at].min_idle = u32::from(candidate.pools[at].source == Source::Fixed);
            self.tries(candidate);
            let mut candidate = self.best.clone();
            candidate.pools[at].job_timeout = None;
            self.tries(candidate);
            let mut candidate = self.best.clone();
            candidate.pools[at].engines.truncate(1);
            self.tries(candidate);
            let mut candidate = self.best.clone();
            candidate.pools[at].spread = false;
            self.tries(candidate);
        }
        for at in 0..self.best.engines.len() {
            let mut candidate = self.best.clone();
            candidate.engines[at].runners = None;
            self.tries(candidate);
            let mut candidate = self.best.clone();
            candidate.engines[at].cpus = None;
            self.tries(candidate);
        }
        let hour = Duration::from_secs(3_600);
        let mut candidate = self.best.clone();
        candidate.github.jit_life = hour;
        candidate.github.admin_life = hour;
        candidate.github.queue_life = hour;
        self.tries(candidate);
        let mut candidate = self.best.clone();
        candidate.github.idle_removal = None;
        self.tries(candidate);
        let mut candidate = self.best.clone();
        candidate.github.app_life = None;
        self.tries(candidate);
        let mut candidate = self.best.clone();
        candidate.sync = Duration::ZERO;
        self.tries(candidate);
        let mut candidate = self.best.clone();
        candidate.github.acquire = false;
        self.tries(candidate);
        let mut candidate = self.best.clone();
        candidate.tick = Duration::from_millis(100);
        candidate.latency = Duration::from_millis(100);
        self.tries(candidate);
    }
}
