//! One true sentence about a job, a pool or a runner.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    condition::{Condition, ConditionKind, pool_conditions},
    runners::waits_for,
    status::shown,
    workflow_job,
};
use crate::{
    model::{DemandSource, Job, JobState, PoolSpec, RunnerName, Spec},
    plan::{Census, advertised_capacity, demand, limits_at, target_of},
    world::{Pool, World},
};

/// One true sentence, and the conditions that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked about: `job`, `pool` or `runner`.
    pub subject: String,
    /// The sentence.
    pub sentence: String,
    /// What is waited for, the first to be met first.
    pub conditions: Vec<Condition>,
}

/// Nothing of that name is known, and what is known instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{sentence}")]
pub struct NotKnown {
    /// What the daemon can say all the same.
    pub sentence: String,
}

/// Explains a job (by its id, its run's id, or its address at GitHub), a pool or a runner.
///
/// # Errors
/// Where nothing of that name is known here: a job that GitHub has given to no scale set of ours can't be seen in its
/// messages, and the sentence says what else is known.
pub fn explain(
    world: &World,
    spec: &Spec,
    what: &str,
    now: Timestamp,
) -> Result<Explanation, NotKnown> {
    if let Some(pool) = world.pool(what) {
        return Ok(explain_pool(world, spec, pool, now));
    }
    if let Ok(name) = RunnerName::new(what)
        && let Some(explanation) = explain_runner(world, spec, &name, now)
    {
        return Ok(explanation);
    }
    if let Some(known) = workflow_job::find(world, what) {
        return Ok(workflow_job::explain(world, spec, known, now));
    }
    find_job(world, what).map_or_else(
        || Err(NotKnown { sentence: unknown(world, spec, what, now) }),
        |(pool, job)| Ok(explain_job(world, spec, pool, job, now)),
    )
}

/// A job by its id, or the first that is not completed of a run by the run's id or address.
fn find_job<'a>(world: &'a World, what: &str) -> Option<(&'a Pool, &'a Job)> {
    let run = run_id(what);
    let mut found: Option<(&Pool, &Job)> = None;
    for pool in world.pools() {
        for job in pool.jobs.values() {
            if &*job.id.0 == what {
                return Some((pool, job));
            }
            let of_run = run == Some(job.run_id);
            if of_run
                && found.is_none_or(|(_, known)| matches!(known.state, JobState::Completed { .. }))
            {
                found = Some((pool, job));
            }
        }
    }
    found
}

/// The run's id in `…/actions/runs/ID…`, or a plain number.
fn run_id(what: &str) -> Option<i64> {
    let tail = what.split("/actions/runs/").nth(1).unwrap_or(what);
    let digits: String = tail.chars().take_while(char::is_ascii_digit).collect();
    let rest = &tail[digits.len()..];
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then(|| digits.parse().ok()).flatten()
}

fn explain_job(world: &World, spec: &Spec, pool: &Pool, job: &Job, now: Timestamp) -> Explanation {
    let name = format!("job {} ({} of {})", job.id, job.display_name, job.repository);
    let of = &pool.state.name;
    let mut conditions = Vec::new();
    let sentence = match &job.state {
        JobState::Completed { since, result, runner } => {
            let on = runner
                .as_ref()
                .map_or_else(|| "without a runner".to_owned(), |runner| format!("on {runner}"));
            format!("{name} completed at {since:.0} {on}: {result}")
        }
        JobState::Started { since, runner } => format!("{name} runs on {runner} since {since:.0}"),
        JobState::Available { since } | JobState::Assigned { since } => {
            conditions = pool_conditions(world, spec, pool, now);
            let offered = matches!(job.state, JobState::Available { .. });
            if offered {
                conditions.retain(|condition| condition.kind != ConditionKind::Pass);
            }
            if offered && conditions.first().is_none_or(|first| first.kind > ConditionKind::Max) {
                let detail = "GitHub's word that the pool has acquired it".into();
                let acquired = Condition { kind: ConditionKind::ScaleSet, detail, until: None };
                conditions.insert(0, acquired);
            }
            let given = if offered { "offered" } else { "given" };
            match conditions.first() {
                Some(first) => {
                    format!("{name} was {given} to pool {of} at {since:.0} and waits: {first}")
                }
                None => format!(
                    "{name} was {given} to pool {of} at {since:.0}; a runner is online for it, and GitHub's next \
                     message tells which one took it"
                ),
            }
        }
    };
    Explanation { subject: "job".into(), sentence, conditions }
}

fn explain_runner(
    world: &World,
    spec: &Spec,
    name: &RunnerName,
    now: Timestamp,
) -> Option<Explanation> {
    let sentence = if let Some(runner) = world.runner(name) {
        let mut sentence = format!("runner {name} is {}", runner.phase());
        if let Some(retiring) = &runner.retiring {
            sentence.push_str(&format!(" because {}", retiring.reason));
        }
        if let Some(waits) = waits_for(world, spec, runner, now) {
            sentence.push_str(&format!("; it waits for {waits}"));
        }
        sentence
    } else {
        let past = world.past(name.as_str())?;
        let reason = past
            .reason
            .as_ref()
            .map_or_else(|| "no reason was kept".to_owned(), ToString::to_string);
        format!("runner {name} is gone since {:.0}: {reason}", past.at)
    };
    Some(Explanation { subject: "runner".into(), sentence, conditions: Vec::new() })
}

fn explain_pool(world: &World, spec: &Spec, pool: &Pool, now: Timestamp) -> Explanation {
    let name = &pool.state.name;
    let conditions = pool_conditions(world, spec, pool, now);
    let census = Census::of(pool);
    if let Some(of) = spec.pools.get(name).filter(|of| of.demand == DemandSource::Fixed) {
        let sentence = kept_full(world, spec, pool, of, &conditions, now);
        return Explanation { subject: "pool".into(), sentence, conditions };
    }
    let told = pool.waiting.len() + pool.available.len() + pool.queue.len();
    let told = u32::try_from(told).unwrap_or(u32::MAX);
    let waiting = told.max(demand(pool, &census, now).jobs.saturating_sub(census.busy));
    let sentence = match conditions.first() {
        Some(first) if waiting > 0 => format!("pool {name} has {waiting} jobs that wait: {first}"),
        Some(first) if first.kind < ConditionKind::Max => {
            format!("no job waits in pool {name}; the next one would wait: {first}")
        }
        _ => format!(
            "no job waits in pool {name}: it has {} busy, {} idle and {} warm runners",
            census.busy,
            census.idle.len(),
            census.warm.len()
        ),
    };
    Explanation { subject: "pool".into(), sentence, conditions }
}

/// A pool that is kept full, in one sentence.
fn kept_full(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    conditions: &[Condition],
    now: Timestamp,
) -> String {
    let census = Census::of(pool);
    let target = target_of(world, spec, pool, of, &census, now);
    let mut sentence = format!(
        "pool {} keeps {} idle runners beside the busy ones, up to {} in all: it has {} idle, {} busy and {} warm",
        of.name,
        target.limits.min_idle,
        target.limits.max,
        census.idle.len(),
        census.busy,
        census.warm.len()
    );
    let short = target.desired.saturating_sub(shown(&census));
    match conditions.first() {
        Some(first) if short > 0 => sentence.push_str(&format!("; {short} are missing: {first}")),
        Some(first) if first.kind < ConditionKind::Max => {
            sentence.push_str(&format!("; the next one would wait: {first}"));
        }
        _ => {}
    }
    sentence
}

/// What can be said of a job that no message has told of.
fn unknown(world: &World, spec: &Spec, what: &str, now: Timestamp) -> String {
    let what: String = what.chars().take(200).collect();
    let pools: Vec<String> = spec
        .pools
        .values()
        .filter_map(|of| {
            let pool = world.pool(of.name.as_str())?;
            let census = Census::of(pool);
            let capacity = advertised_capacity(world, spec, pool, of, limits_at(of, now).0, &census, now);
            if of.demand == DemandSource::Webhook {
                return Some(format!(
                    "{} (labels {}; {} jobs of which GitHub's webhooks or its REST API told)",
                    of.name,
                    of.all_labels().join(", "),
                    pool.queue.len()
                ));
            }
            if of.scale_set().is_none() {
                return Some(format!(
                    "{} (labels {}; {} runners idle, to which GitHub gives jobs by labels, untold)",
                    of.name,
                    of.all_labels().join(", "),
                    census.idle.len()
                ));
            }
            let available = pool.state.statistics.map_or(0, |(statistics, _)| statistics.available);
            Some(format!(
                "{} (labels {}; capacity {capacity} advertised; {available} jobs that GitHub holds back)",
                of.name,
                of.all_labels().join(", ")
            ))
        })
        .collect();
    format!(
        "`{what}` is no pool or runner here, and GitHub has told of no such job: a job that it has not given to a scale \
         set, and that no webhook told of, can't be seen from here. All that is known: the pools are {}. Check the job's runs-on labels against them, \
         and whether the runner group lets its repository in",
        if pools.is_empty() { "none".to_owned() } else { pools.join("; ") }
    )
}
