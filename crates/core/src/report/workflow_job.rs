//! Workflow jobs, as webhooks and GitHub's REST API tell of them: found by what a user has, explained, and listed.

use jiff::Timestamp;

use super::{
    Explanation, JobAddress, JobView,
    condition::{Condition, ConditionKind, pool_conditions},
};
use crate::{
    model::{Spec, WorkflowJobId, WorkflowJobStatus},
    plan::{Census, demand},
    world::{KnownJob, Pool, World},
};

/// A job by its id, or by its run: of a job its newest attempt, of a run the first that is not completed. By an id (`ID`,
/// `ID#ATTEMPT`) or an address at GitHub.
pub(super) fn find<'a>(world: &'a World, what: &str) -> Option<&'a KnownJob> {
    let (job, run) = match JobAddress::parse(what) {
        Some(address) => (address.job, Some(address.run).filter(|_| address.job.is_none())),
        None => {
            if let Some((id, attempt)) = what.split_once('#') {
                let id = WorkflowJobId { id: id.parse().ok()?, attempt: attempt.parse().ok()? };
                return world.workflow_job(id);
            }
            let number = what.parse().ok();
            (number, number)
        }
    };
    if let Some(known) =
        job.and_then(|id| world.workflow_jobs().find(|known| known.row.job.id.id == id))
    {
        return Some(newest(world, known));
    }
    let mut of_run = world.workflow_jobs().filter(|known| Some(known.row.job.run_id) == run);
    let first = of_run.next()?;
    let open = |known: &&KnownJob| known.row.job.status != WorkflowJobStatus::Completed;
    Some(std::iter::once(first).chain(of_run).find(open).unwrap_or(first))
}

fn newest<'a>(world: &'a World, found: &'a KnownJob) -> &'a KnownJob {
    let id = found.row.job.id.id;
    world.workflow_jobs().rev().find(|known| known.row.job.id.id == id).unwrap_or(found)
}

/// What is known of the job, and what it waits for.
pub(super) fn explain(world: &World, spec: &Spec, known: &KnownJob, now: Timestamp) -> Explanation {
    let job = &known.row.job;
    let since = known.row.since;
    let name = format!("job {} ({} of {})", job.id, job.name, job.repository);
    let runner = job.runner.as_deref().filter(|runner| !runner.is_empty());
    let mut conditions = Vec::new();
    let sentence = match job.status {
        WorkflowJobStatus::Completed => {
            let on = runner
                .map_or_else(|| "without a runner".to_owned(), |runner| format!("on {runner}"));
            let conclusion = job.conclusion.as_deref().unwrap_or("no conclusion");
            format!("{name} completed at {since:.0} {on}: {conclusion}")
        }
        WorkflowJobStatus::InProgress => {
            let on = runner.unwrap_or("a runner that GitHub does not name");
            format!("{name} runs on {on} since {since:.0}")
        }
        WorkflowJobStatus::Waiting => format!(
            "{name} is not queued yet: GitHub holds it back itself (an approval, a concurrency group or another job)"
        ),
        WorkflowJobStatus::Queued => {
            match known.pool.as_ref().and_then(|pool| world.pool(pool.as_str())) {
                Some(pool) => {
                    conditions = pool_conditions(world, spec, pool, now);
                    let of = &pool.state.name;
                    match conditions.first() {
                        Some(first) => {
                            format!(
                                "{name} was queued for pool {of} at {since:.0} and waits: {first}"
                            )
                        }
                        None => format!(
                            "{name} was queued for pool {of} at {since:.0}; a runner is online for it, and GitHub's next event \
                         tells which one took it"
                        ),
                    }
                }
                None => {
                    let detail = nowhere(world, known);
                    let sentence = format!("{name} is queued since {since:.0} and {detail}");
                    conditions.push(Condition { kind: ConditionKind::NoPool, detail, until: None });
                    sentence
                }
            }
        }
    };
    Explanation { subject: "job".into(), sentence, conditions }
}

/// Why no pool takes a job, in words that read after "and".
fn nowhere(world: &World, known: &KnownJob) -> String {
    let job = &known.row.job;
    match world.routes().nearest(&job.repository, &job.labels) {
        Some((pool, lacks)) => format!(
            "no pool can take it: the nearest is {pool}, which lacks the labels {}",
            lacks.join(", ")
        ),
        None => format!("no pool can take it: none hears webhooks for {}", job.repository),
    }
}

/// Every workflow job, the unfinished ones with what they wait for.
pub(super) fn views(world: &World, spec: &Spec, now: Timestamp) -> impl Iterator<Item = JobView> {
    let mut waits = std::collections::BTreeMap::new();
    world.workflow_jobs().map(move |known| {
        let job = &known.row.job;
        let queued = job.status == WorkflowJobStatus::Queued;
        let waits_for = match known.pool.as_ref().filter(|_| queued) {
            // All jobs of a pool wait for the same: there is no binding between a job and a runner.
            Some(name) => waits
                .entry(name.clone())
                .or_insert_with(|| {
                    let pool = world.pool(name.as_str())?;
                    Some(pool_conditions(world, spec, pool, now).first()?.to_string())
                })
                .clone(),
            None => queued.then(|| nowhere(world, known)),
        };
        JobView {
            id: job.id.to_string(),
            pool: known.pool.as_ref().map(ToString::to_string).unwrap_or_default(),
            repository: job.repository.clone(),
            name: job.name.clone(),
            run_id: job.run_id,
            labels: job.labels.clone(),
            state: job.status.word().to_owned(),
            since: known.row.since,
            queued_at: job.created_at,
            runner: job.runner.clone(),
            result: job.conclusion.clone(),
            waits_for,
        }
    })
}

/// Runners that stand for jobs of a pool, since no event has told which jobs they have or had.
pub(super) fn stood_for(pool: &Pool, census: &Census<'_>, now: Timestamp) -> Option<Condition> {
    let demand = demand(pool, census, now);
    let told = demand.jobs.saturating_sub(census.busy) as usize;
    let standing = pool.queue.len().checked_sub(told).filter(|standing| *standing > 0)?;
    let detail = format!("GitHub's word on which jobs {standing} runners of the pool have or had");
    Some(Condition { kind: ConditionKind::Reading, detail, until: demand.changes_at })
}

/// What of a pool's jobs is asked for before runners are made for them.
pub(super) fn reading(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    now: Timestamp,
) -> Option<Condition> {
    let of = spec.pools.get(&pool.state.name).filter(|_| pool.routed)?;
    let census = Census::of(pool);
    let target = crate::plan::target_of(world, spec, pool, of, &census, now);
    if crate::plan::to_read(&census, target) == 0 {
        return None;
    }
    let unsure = demand(pool, &census, now).unsure;
    let failed = world.scope(&of.scope).and_then(|view| view.catch_up.read_attempt.as_ref());
    let detail = match failed {
        Some(attempt) => format!(
            "GitHub's word on whether {unsure} jobs still wait, of which nothing was heard for long: {}",
            attempt.error
        ),
        None => format!(
            "GitHub's word on whether {unsure} jobs still wait, of which nothing was heard for long"
        ),
    };
    let until = failed.map(|attempt| attempt.next_at).filter(|next_at| *next_at > now);
    Some(Condition { kind: ConditionKind::Reading, detail, until })
}
