//! Jobs, as people see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{condition::pool_conditions, workflow_job};
use crate::{
    model::{Job, JobState, Spec},
    world::{Pool, World},
};

/// A job, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// GitHub's id in the scale set's messages; of a workflow job its public one, with `#` and the attempt from the second on.
    pub id: String,
    /// The pool it was given to, or goes to; empty where no pool can take it.
    pub pool: String,
    /// `OWNER/REPO`.
    pub repository: String,
    /// Its name in the run.
    pub name: String,
    /// The run's public id.
    pub run_id: i64,
    /// The labels it asks for.
    pub labels: Vec<String>,
    /// available, assigned, started or completed; of a workflow job waiting, queued, in_progress or completed.
    pub state: String,
    /// Since when, by our clock.
    pub since: Timestamp,
    /// When it was queued, by GitHub's clock.
    pub queued_at: Option<Timestamp>,
    /// Its runner, where it has or had one.
    pub runner: Option<String>,
    /// Its result, where it is completed.
    pub result: Option<String>,
    /// What it waits for, where it waits.
    pub waits_for: Option<String>,
}

/// Every job known: those of scale sets by pool and id, then workflow jobs by id.
#[must_use]
pub fn jobs(world: &World, spec: &Spec, now: Timestamp) -> Vec<JobView> {
    let mut views = Vec::new();
    for pool in world.pools() {
        // All waiting jobs of a pool wait for the same: there is no binding between a job and a runner.
        let waits = pool_conditions(world, spec, pool, now).first().map(ToString::to_string);
        views.extend(pool.jobs.values().map(|job| view(pool, job, waits.as_deref())));
    }
    views.extend(workflow_job::views(world, spec, now));
    views
}

fn view(pool: &Pool, job: &Job, waits: Option<&str>) -> JobView {
    let (state, runner, result) = match &job.state {
        JobState::Available { .. } => ("available", None, None),
        JobState::Assigned { .. } => ("assigned", None, None),
        JobState::Started { runner, .. } => ("started", Some(runner), None),
        JobState::Completed { runner, result, .. } => ("completed", runner.as_ref(), Some(result)),
    };
    let waiting = matches!(job.state, JobState::Available { .. } | JobState::Assigned { .. });
    JobView {
        id: job.id.to_string(),
        pool: pool.state.name.to_string(),
        repository: job.repository.to_string(),
        name: job.display_name.to_string(),
        run_id: job.run_id,
        labels: job.labels.clone(),
        state: state.to_owned(),
        since: job.since(),
        queued_at: job.queued_at,
        runner: runner.map(ToString::to_string),
        result: result.map(ToString::to_string),
        waits_for: waits.filter(|_| waiting).map(str::to_owned),
    }
}
