//! Whether what the daemon says of waiting jobs can be true, and whether a wait ends as it said.

use std::collections::{BTreeMap, BTreeSet};

use dayfly_core::{
    model::{DemandSource, JobId, JobState, PoolName, Runner, WorkflowJobStatus, later},
    plan::{Census, target_of},
    report::{Condition, ConditionKind, explain, pool_conditions},
    world::{KnownJob, Pool},
};
use dayfly_engine::View;
use jiff::SignedDuration;

/// A condition that should have been met by now may be for as long as the slowest commit and call take.
const GRACE: SignedDuration = SignedDuration::from_secs(90);

/// What a pool's jobs waited for at the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wait {
    jobs: BTreeSet<JobId>,
    named: BTreeSet<(ConditionKind, String)>,
}

/// What every pool's jobs waited for at the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waits(BTreeMap<PoolName, Wait>);

/// What a look found.
pub(crate) struct Look {
    /// Jobs that wait for nothing that is named, or for something that should be over.
    pub(crate) unexplained: Option<String>,
    /// A wait that ended while everything that was named is as it was.
    pub(crate) unfounded: Option<String>,
    /// For the next look.
    pub(crate) waits: Waits,
}

/// Looks at what is said of every pool whose jobs wait.
pub(crate) fn look(view: &View<'_>, before: &Waits) -> Look {
    let mut found = Look { unexplained: None, unfounded: None, waits: Waits::default() };
    for pool in view.world.pools() {
        found.unexplained = found.unexplained.or_else(|| unexplained_job(view, pool));
        let known = before.0.get(&pool.state.name);
        found.unexplained = found.unexplained.or_else(|| missing(view, pool));
        let waiting = waiting(pool);
        if waiting.is_empty() && known.is_none() {
            continue;
        }
        let census = Census::of(pool);
        let conditions = pool_conditions(view.world, view.spec, pool, view.now);
        let mut named: BTreeSet<_> =
            conditions.iter().map(|named| (named.kind, named.detail.clone())).collect();
        // A wait for a runner, or for room for one, ends with whichever moves first, not with the one that is named alone.
        let room = |of: &Condition| {
            matches!(of.kind, ConditionKind::Runner | ConditionKind::Max | ConditionKind::Budget)
        };
        if conditions.iter().any(room) {
            let moves = pool.runners.values().map(|row| format!("{} is {}", row.name, row.phase()));
            named.extend(moves.map(|row| (ConditionKind::Runner, row)));
        }
        if let Some(known) = known.filter(|known| known.named == named) {
            found.unfounded = found.unfounded.or_else(|| unfounded(view, pool, known));
        }
        if waiting.is_empty() || !census.idle.is_empty() {
            continue;
        }
        found.unexplained =
            found.unexplained.or_else(|| unexplained(view, pool, waiting.len(), &conditions));
        // A busy runner, or one that ended, whose job no message has told stands for the oldest that waits: that one's
        // wait was over before.
        if census.busy_unknown == 0 && pool.finished.is_empty() {
            let wait = Wait { jobs: waiting, named };
            found.waits.0.insert(pool.state.name.clone(), wait);
        }
    }
    found
}

/// The jobs that wait for the pool's runners.
fn waiting(pool: &Pool) -> BTreeSet<JobId> {
    pool.waiting.iter().cloned().chain(pool.queue.iter().map(|(_, id)| id.job_id())).collect()
}

/// A pool that is kept full and is not, and nothing that should not be over is named.
fn missing(view: &View<'_>, pool: &Pool) -> Option<String> {
    let of = view.spec.pools.get(&pool.state.name).filter(|of| of.demand == DemandSource::Fixed)?;
    let census = Census::of(pool);
    let target = target_of(view.world, view.spec, pool, of, &census, view.now);
    let shown = census.busy as usize + census.idle.len();
    let missing = (target.desired as usize).checked_sub(shown).filter(|missing| *missing > 0)?;
    let conditions = pool_conditions(view.world, view.spec, pool, view.now);
    let name = &pool.state.name;
    if conditions.is_empty() {
        return Some(format!("{missing} runners are missing in pool {name}, and nothing is named"));
    }
    overdue(view, &conditions).map(|condition| {
        format!("{missing} runners of pool {name} wait for what should be over: {condition}")
    })
}

fn overdue<'a>(view: &View<'_>, conditions: &'a [Condition]) -> Option<&'a Condition> {
    let is_over = |until| later(until, GRACE) < view.now;
    conditions
        .iter()
        .find(|condition| condition.until.is_some_and(is_over))
        .filter(|_| view.store_error.is_none())
}

fn unexplained(
    view: &View<'_>,
    pool: &Pool,
    waiting: usize,
    conditions: &[Condition],
) -> Option<String> {
    let name = &pool.state.name;
    if conditions.is_empty() {
        return Some(format!("{waiting} jobs of pool {name} wait, and nothing is named"));
    }
    overdue(view, conditions).map(|condition| {
        format!("{waiting} jobs of pool {name} wait for what should be over: {condition}")
    })
}

/// What is said of a job that waits, asked for by its id as a user would. All of a pool that were given to it hear the same, and
/// so do all that it was offered: one of each is asked for.
fn unexplained_job(view: &View<'_>, pool: &Pool) -> Option<String> {
    let given = waiting(pool).pop_first().filter(|_| Census::of(pool).idle.is_empty());
    let waiting = given.into_iter().chain(pool.available.first().cloned());
    waiting.into_iter().find_map(|job| {
        let said = match explain(view.world, view.spec, &job.0, view.now) {
            Ok(said) => said,
            Err(unknown) => {
                return Some(format!("job {job} waits, and nobody knows it: {unknown}"));
            }
        };
        if said.conditions.is_empty() {
            return Some(format!("job {job} waits, and nothing is named: {}", said.sentence));
        }
        overdue(view, &said.conditions)
            .map(|condition| format!("job {job} waits for what should be over: {condition}"))
    })
}

/// A job that waited and has a runner by now, though nothing that it was said to wait for has changed.
fn unfounded(view: &View<'_>, pool: &Pool, before: &Wait) -> Option<String> {
    // Whose runner went before a webhook told of it had waited for something that was over, and nobody knew.
    let runs = |known: &&KnownJob| {
        let job = &known.row.job;
        let is_its = |row: &Runner| {
            row.retiring.is_none() && job.runner.as_deref() == Some(row.name.as_str())
        };
        job.status == WorkflowJobStatus::InProgress && pool.runners.values().any(is_its)
    };
    let running: BTreeSet<JobId> = view
        .world
        .workflow_jobs()
        .filter(|_| pool.routed)
        .filter(runs)
        .map(|known| known.row.job.id.job_id())
        .collect();
    let started = before.jobs.iter().find(|job| {
        let state = pool.jobs.get(*job).map(|job| &job.state);
        matches!(state, Some(JobState::Started { .. })) || running.contains(*job)
    })?;
    let named: Vec<&str> = before.named.iter().map(|(_, detail)| detail.as_str()).collect();
    Some(format!(
        "job {started} of pool {} has a runner, and all that it was said to wait for is as it was: {}",
        pool.state.name,
        named.join("; ")
    ))
}
