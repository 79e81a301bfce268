//! Takes in a message of a scale set's queue: evidence, stored before it is acknowledged.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{World, pool::UNTOLD};
use crate::model::{
    EventKind, Job, JobEntry, JobEntryKind, JobId, JobState, Message, MessageId, PoolName,
    RunnerName,
};

/// How long a completed job is kept, to explain it.
const COMPLETED_KEPT: SignedDuration = SignedDuration::from_hours(1);

/// How many completed jobs of a pool are kept at most.
const COMPLETED_MAX: usize = 5_000;

impl World {
    /// A message seen before adds nothing: entries are told apart by the message that last told of their job, and old
    /// counts are not taken for new ones (F16).
    pub(super) fn apply_message(&mut self, name: &PoolName, message: Message, now: Timestamp) {
        let Some(pool) = self.change_pool(name) else {
            return;
        };
        let replay = message.id <= pool.state.newest;
        pool.state.cursor = pool.state.cursor.max(message.id);
        pool.state.newest = pool.state.newest.max(message.id);
        pool.state.unacknowledged.insert(message.id);
        pool.heard_at = Some(now);
        if let (false, Some(statistics)) = (replay, message.statistics) {
            pool.state.statistics = Some((statistics, now));
        }
        for what in message.unreadable {
            self.odd(&format!("message {} of pool {name}: {what}", message.id), now);
        }
        let counted = replay || message.statistics.is_some();
        for entry in message.entries {
            self.apply_entry(name, entry, (message.id, replay, counted), now);
        }
        self.prune_jobs(name, now);
    }

    fn apply_entry(
        &mut self,
        name: &PoolName,
        entry: JobEntry,
        (message, replay, counted): (MessageId, bool, bool),
        now: Timestamp,
    ) {
        let Some(pool) = self.pools.get(name) else {
            return;
        };
        let known = pool.jobs.get(&entry.id);
        // A replay that a later message, or this very one, has told already.
        if known.is_some_and(|job| job.message > message || (replay && job.message == message)) {
            return;
        }
        let before = known.map(|job| job.state.clone());
        let assignments = known.map_or(0, |job| job.assignments);
        let Some(state) = next_state(before.as_ref(), &entry.kind, now) else {
            return;
        };
        let (word, runner): (&str, Option<Arc<str>>) = match &state {
            JobState::Available { .. } => ("available", None),
            JobState::Assigned { .. } => ("assigned", None),
            JobState::Started { runner, .. } => ("started", Some(runner.clone())),
            JobState::Completed { runner, .. } => ("completed", runner.clone()),
        };
        let assigned = u32::from(matches!(state, JobState::Assigned { .. }));
        let completed = matches!(state, JobState::Completed { .. });
        let job = Job {
            id: entry.id.clone(),
            request_id: entry.request_id,
            repository: entry.repository.into(),
            display_name: entry.display_name.into(),
            run_id: entry.run_id,
            labels: entry.labels,
            queued_at: entry.queued_at,
            state,
            assignments: assignments.saturating_add(assigned),
            message,
        };
        if let Some(pool) = self.pools.get_mut(name) {
            pool.put_job(job);
        }
        self.changes.jobs.insert(Self::job_key(name, &entry.id));
        let event = EventKind::Job {
            pool: name.clone(),
            job: entry.id.clone(),
            state: word.into(),
            runner: runner.clone(),
        };
        self.tell(event, now);
        let Some(runner) = runner.and_then(|runner| RunnerName::new(&*runner).ok()) else {
            return;
        };
        self.runner_has_job(&runner, &entry.id, completed, counted, now);
    }

    /// A runner is told to have a job, or to have had it. `counted`: GitHub's counts that came with it know it.
    pub(super) fn runner_has_job(
        &mut self,
        runner: &RunnerName,
        job: &JobId,
        completed: bool,
        counted: bool,
        now: Timestamp,
    ) {
        if let Some(pool) = self.pools.get_mut(runner.pool_str()) {
            // Counts that came without the completion still contain the job. Where no counts come, its news is all there is.
            if pool.routed || completed && counted {
                // It stands for no other job any more.
                pool.touched |= pool.finished.remove(runner).is_some();
            } else if let Some(finished) = pool.finished.get_mut(runner) {
                finished.job = Some(job.clone());
            }
        }
        let row = self.runner(runner).cloned();
        // What shows under the name of one that was known and went is not the runner.
        let is_ours = runner.is_of(self.controller) && !self.past_at.contains_key(runner);
        if row.is_none() && is_ours && !completed {
            self.told_early.insert(runner.clone(), job.clone());
        } else {
            self.told_early.remove(runner);
        }
        let Some(row) = row else {
            return;
        };
        self.found_busy(row, Some(job.clone()), now);
        if completed
            && let Some(row) = self.runner(runner).cloned()
            && row.job() == Some(job)
            && let Ok(row) = row.job_completed(now)
        {
            self.put(row, now);
        }
    }

    fn prune_jobs(&mut self, name: &PoolName, now: Timestamp) {
        let before = crate::model::later(now, -COMPLETED_KEPT);
        while let Some(id) =
            self.pools.get_mut(name).and_then(|pool| pool.prune_job(before, COMPLETED_MAX))
        {
            self.changes.jobs.insert(Self::job_key(name, &id));
        }
    }
}

/// A job moves forward only; the one way back is GitHub's own: completed without a runner, and assigned again (F15).
fn next_state(before: Option<&JobState>, entry: &JobEntryKind, now: Timestamp) -> Option<JobState> {
    match (entry, before) {
        (JobEntryKind::Available, None | Some(JobState::Completed { .. })) => {
            Some(JobState::Available { since: now })
        }
        (
            JobEntryKind::Assigned,
            None | Some(JobState::Available { .. } | JobState::Completed { .. }),
        ) => Some(JobState::Assigned { since: now }),
        (
            JobEntryKind::Started { runner },
            None | Some(JobState::Available { .. } | JobState::Assigned { .. }),
        ) => Some(JobState::Started { since: now, runner: runner.as_str().into() }),
        // It may come after the job was given up.
        (JobEntryKind::Completed { .. }, Some(JobState::Completed { result, .. }))
            if &**result != UNTOLD =>
        {
            None
        }
        (JobEntryKind::Completed { result, runner }, before) => {
            let told = (!runner.is_empty()).then(|| Arc::from(runner.as_str()));
            let known = match before {
                Some(JobState::Started { runner, .. }) => Some(runner.clone()),
                Some(JobState::Completed { runner, .. }) => runner.clone(),
                _ => None,
            };
            Some(JobState::Completed {
                since: now,
                result: result.as_str().into(),
                runner: told.or(known),
            })
        }
        _ => None,
    }
}
