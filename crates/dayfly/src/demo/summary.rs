//! What came of a demo: the figures, as JSON and in words.

use std::fmt;

use serde::Serialize;

use super::simulator::Job;

/// What came of a demo.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// What came of the jobs.
    pub jobs: Jobs,
    /// How many runners there were.
    pub runners: Runners,
    /// What was left at the end.
    pub leftover: Leftover,
    /// Durations in milliseconds.
    pub ms: Durations,
    /// Requests of the daemon to GitHub, but for empty polls, for each job.
    pub github_calls_per_job: f64,
    /// The daemon's peak memory; `null` where the system does not tell.
    pub rss_mib_peak: Option<f64>,
}

/// What came of the jobs.
#[derive(Debug, Default, Serialize)]
pub struct Jobs {
    /// How many there were.
    pub queued: usize,
    /// How many succeeded.
    pub succeeded: usize,
    /// How many failed, or were cancelled.
    pub failed: usize,
    /// How many did neither.
    pub lost: usize,
}

/// How many runners there were.
#[derive(Debug, Default, Serialize)]
pub struct Runners {
    /// In all.
    pub created: usize,
    /// At once.
    pub peak: usize,
}

/// What was left at the end: all 0, or the demo failed.
#[derive(Debug, Default, Serialize)]
pub struct Leftover {
    /// Instances, by the engine's word.
    pub instances: usize,
    /// Registrations, by the simulator's.
    pub registrations: usize,
    /// Message sessions, by the simulator's.
    pub sessions: usize,
    /// Rows of runners and open duties, by the store's.
    pub rows: u64,
}

/// Durations in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Durations {
    /// A job is queued → a runner has taken it.
    pub queued_to_started: Spread,
    /// The daemon knows of a job → its engine is asked for an instance.
    pub evidence_to_create: Spread,
}

/// The spread of a duration.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// What 99 of 100 do not exceed.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    /// By nearest rank.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(index).copied().unwrap_or(0.0)
        };
        Self { p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

impl Jobs {
    /// Counts jobs by their end.
    pub fn count(queued: usize, jobs: &[Job]) -> Self {
        let ended = |phases: &[&str]| {
            jobs.iter().filter(|job| phases.contains(&job.phase.as_str())).count()
        };
        let (succeeded, failed) = (ended(&["success"]), ended(&["failure", "cancelled"]));
        Self { queued, succeeded, failed, lost: queued.saturating_sub(succeeded + failed) }
    }
}

impl Leftover {
    /// Whether nothing is left.
    pub fn is_none(&self) -> bool {
        self.instances == 0 && self.registrations == 0 && self.sessions == 0 && self.rows == 0
    }
}

impl Summary {
    /// Whether every job succeeded and nothing is left.
    pub fn is_success(&self) -> bool {
        self.jobs.succeeded == self.jobs.queued && self.leftover.is_none()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, runners, leftover, ms, .. } = self;
        writeln!(
            f,
            "{} jobs: {} succeeded, {} failed, {} lost; each on a runner of its own, {} in all, at most {} at once",
            jobs.queued, jobs.succeeded, jobs.failed, jobs.lost, runners.created, runners.peak
        )?;
        writeln!(
            f,
            "left behind: {} instances, {} registrations, {} sessions, {} rows",
            leftover.instances, leftover.registrations, leftover.sessions, leftover.rows
        )?;
        writeln!(
            f,
            "queued to started: median {:.0} ms, longest {:.0} ms (jobs wait for one of the runners); \
             known to create call: median {:.1} ms",
            ms.queued_to_started.p50, ms.queued_to_started.max, ms.evidence_to_create.p50
        )?;
        write!(f, "{:.1} calls to GitHub for each job", self.github_calls_per_job)?;
        match self.rss_mib_peak {
            Some(mib) => write!(f, "; the daemon took {mib:.0} MiB of memory at most"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_is_a_success_only_if_all_succeeded_and_nothing_is_left() {
        let check = |succeeded: usize, rows: u64, expected: bool| {
            let jobs = Jobs { queued: 3, succeeded, failed: 0, lost: 3 - succeeded };
            let leftover = Leftover { rows, ..Leftover::default() };
            let summary = Summary { jobs, leftover, ..Summary::default() };
            assert_eq!(summary.is_success(), expected, "{succeeded} succeeded, {rows} rows left");
        };
        check(3, 0, true);
        check(2, 0, false);
        check(3, 1, false);
    }

    #[test]
    fn a_job_that_neither_succeeded_nor_failed_is_lost() {
        let job = |phase: &str| Job {
            id: 1,
            name: String::new(),
            phase: phase.to_owned(),
            runner_name: None,
            queued_at: 0.0,
            started_at: None,
            completed_at: None,
        };
        let jobs = Jobs::count(5, &["success", "failure", "cancelled", "running"].map(job));
        assert_eq!((jobs.succeeded, jobs.failed, jobs.lost), (1, 2, 2));
    }

    #[test]
    fn the_json_has_the_documented_members() {
        let value = serde_json::to_value(Summary::default()).unwrap();
        let members: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["github_calls_per_job", "jobs", "leftover", "ms", "rss_mib_peak", "runners"]
        );
        assert!(value["ms"]["evidence_to_create"]["p99"].is_number());
    }
}
