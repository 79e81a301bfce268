//! How many runners a pool should have for its jobs, and the evidence for it.

use jiff::Timestamp;

use super::{census::Census, webhook};
use crate::{
    model::later,
    planted::{Bug, planted},
    world::{ASSIGNMENT_BELIEVED, Pool},
};

/// How many runners a pool should have for its jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Jobs waiting or running, as far as they need a runner of ours: the larger of the two below.
    pub jobs: u32,
    /// Of these, the ones for which a runner may be made at once: what is doubted is read first.
    pub sure: u32,
    /// Workflow jobs whose wait is doubted.
    pub unsure: u32,
    /// By GitHub's newest counts, less the runners that ended since.
    pub by_counts: u32,
    /// By the messages' entries and our own busy runners.
    pub by_entries: u32,
    /// When this may change though nothing happens.
    pub changes_at: Option<Timestamp>,
}

impl Demand {
    /// Whether the two sources differ (F6): then the session is refreshed.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.by_counts != self.by_entries
    }
}

/// Reckons a pool's demand. A runner whose process has ended after a job stands for one assigned job until a message
/// or fresh counts tell the completion; a busy runner whose job is unknown stands for the oldest waiting job, for there
/// is no binding between a job and a runner.
#[must_use]
pub fn demand(pool: &Pool, census: &Census<'_>, now: Timestamp) -> Demand {
    if pool.routed {
        return webhook::demand(pool, census, now);
    }
    let finished = u32::try_from(pool.finished.len()).unwrap_or(u32::MAX);
    let finished = if planted(Bug::EndedRunnerNotCounted) { 0 } else { finished };
    let finished_unknown = u32::try_from(
        pool.finished
            .values()
            .filter(|finished| match &finished.job {
                None => true,
                // A job that a message told as assigned and not yet as started.
                Some(job) => pool.waiting.contains(job),
            })
            .count(),
    )
    .unwrap_or(u32::MAX);
    let counted = pool.state.statistics.map_or(0, |(statistics, _)| statistics.assigned);
    let mut waiting = 0_u32;
    let mut changes_at = None;
    for (since, _) in &census.waiting {
        let until = later(*since, ASSIGNMENT_BELIEVED);
        if until > now || planted(Bug::ReassignmentDeadlineIgnored) {
            waiting += 1;
            changes_at = super::earlier(changes_at, Some(until));
        }
    }
    let by_counts = counted.saturating_sub(finished);
    let unmatched = waiting.saturating_sub(census.busy_unknown).saturating_sub(finished_unknown);
    let by_entries = unmatched.saturating_add(census.busy);
    let jobs = by_counts.max(by_entries);
    let jobs = if planted(Bug::DemandCountedTwice) { by_counts + by_entries } else { jobs };
    Demand { jobs, sure: jobs, unsure: 0, by_counts, by_entries, changes_at }
}
