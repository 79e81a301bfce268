//! Takes in what GitHub's webhooks and its REST API tell of workflow jobs: evidence, stored before its delivery is answered.
//!
//! A job only moves forward, so that doubles and any order do no harm. What a delivery tells is believed for a while; what a list
//! or a look tells is fresh.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{World, apply::Api, pool::UNTOLD};
use crate::{
    effect::Flight,
    model::{
        Attempt, EventKind, PoolName, RunnerName, ScopeName, TrackedJob, WorkflowJob,
        WorkflowJobId, WorkflowJobStatus, later,
    },
    ports::{CaughtUp, ForgeError, ForgeErrorKind},
    route::Routes,
};

/// How long a job is believed to wait for a runner without another word of GitHub's.
pub const QUEUE_BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// For how long a job can be so far at most, where nobody may read it: GitHub ends one that no runner took after a day, one that
/// runs after five, and one that waits for somebody's leave with its run, after 35 (docs: usage limits of self-hosted runners).
fn longest(status: WorkflowJobStatus) -> SignedDuration {
    SignedDuration::from_hours(match status {
        WorkflowJobStatus::Queued => 24,
        WorkflowJobStatus::InProgress => 5 * 24,
        _ => 35 * 24,
    })
}

/// How long a completed job is kept: to explain it, and so that a late double of its first event adds nothing.
const COMPLETED_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How many completed jobs are kept at most. A double of one that went too early costs a look at it, no more.
const COMPLETED_MAX: usize = 50_000;

/// How many jobs that are not completed are kept at most: three minutes of the highest rate that is thought of without one that ends,
/// in 1 GiB where each is as large as it may be.
const OPEN_MAX: usize = 1_000_000;

/// A workflow job, and what only this life of the daemon knows of it.
#[derive(Debug, Clone)]
pub struct KnownJob {
    /// The stored row.
    pub row: TrackedJob,
    /// The pool that it goes to; `None` where no pool can take it.
    pub pool: Option<PoolName>,
    /// When GitHub last told that it is so far: what a delivery told at its arrival, what a list or a look told at its beginning.
    pub heard_at: Timestamp,
}

/// Every workflow job that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkflowJobs {
    pub(super) rows: BTreeMap<WorkflowJobId, KnownJob>,
    /// Completed ones by the time at which we knew, oldest first.
    completed: VecDeque<(Timestamp, WorkflowJobId)>,
    pub(super) routes: Routes,
}

impl WorkflowJobs {
    /// None, for jobs that go as `routes` tells.
    pub(super) fn of(routes: Routes) -> Self {
        Self { routes, ..Self::default() }
    }
}

impl World {
    /// A workflow job by its id.
    #[must_use]
    pub fn workflow_job(&self, id: WorkflowJobId) -> Option<&KnownJob> {
        self.workflow_jobs.rows.get(&id)
    }

    /// Every workflow job that is known.
    pub fn workflow_jobs(&self) -> impl DoubleEndedIterator<Item = &KnownJob> {
        self.workflow_jobs.rows.values()
    }

    /// Which pool a workflow job goes to.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.workflow_jobs.routes
    }

    /// Whether there is room for what a delivery tells; there always is for news of a job that is known.
    #[must_use]
    pub fn has_room_for(&self, job: &WorkflowJob) -> bool {
        let jobs = &self.workflow_jobs;
        jobs.rows.contains_key(&job.id)
            || job.status == WorkflowJobStatus::Completed
            || jobs.rows.len().saturating_sub(jobs.completed.len()) < OPEN_MAX
    }

    /// The stored jobs, the completed ones in the order of their end.
    pub(super) fn load_workflow_jobs(&mut self, mut stored: Vec<TrackedJob>) {
        stored.sort_by_key(|row| row.since);
        for row in stored {
            // Nobody tells of it any more.
            if self.routes().scope_of(&row.job.repository).is_none() {
                self.changes.workflow_jobs.insert(row.job.id);
                continue;
            }
            let pool = self.workflow_jobs.routes.pool_of(&row.job.repository, &row.job.labels);
            let (pool, heard_at) = (pool.cloned(), believed_from(&row.job, row.since));
            self.keep_workflow_job(KnownJob { row, pool, heard_at });
        }
    }

    /// What a delivery told, or, with the time at which it was begun, a list or a look.
    pub(super) fn apply_evidence(
        &mut self,
        mut job: WorkflowJob,
        looked_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let id = job.id;
        let mut since = now;
        let mut forward = true;
        if let Some(KnownJob { row: known, .. }) = self.workflow_job(id) {
            let names_runner = known.job.runner.is_none() && job.runner.is_some();
            // That it ended was our own guess: GitHub may tell more of it, or know it again.
            let is_guess = |job: &WorkflowJob| job.conclusion.as_deref() == Some(UNTOLD);
            let guessed = is_guess(&known.job) && !is_guess(&job);
            let known_again = guessed && looked_at.is_some();
            let told_now = guessed && job.status == WorkflowJobStatus::Completed;
            forward = known.job.status < job.status || known_again;
            let same = known.job.status == job.status && (names_runner || told_now);
            if !forward && !same {
                if let Some(at) = looked_at {
                    self.hear_workflow_job(id, at);
                }
                return;
            }
            if known.job.status == job.status {
                since = known.since;
            }
            // What this event leaves out is not forgotten.
            job.runner = job.runner.or_else(|| known.job.runner.clone());
            job.created_at = job.created_at.or(known.job.created_at);
        } else if !self.has_room_for(&job) {
            return;
        }
        let pool = self.workflow_jobs.routes.pool_of(&job.repository, &job.labels).cloned();
        let heard_at = looked_at.unwrap_or_else(|| believed_from(&job, now));
        let completed = job.status == WorkflowJobStatus::Completed;
        let runner = job.runner.clone();
        if let Some(pool) = pool.clone().filter(|_| forward) {
            let kind = EventKind::Job {
                pool,
                job: id.job_id(),
                state: job.status.word().into(),
                runner: runner.as_deref().map(Into::into),
            };
            self.tell(kind, now);
        }
        self.keep_workflow_job(KnownJob { row: TrackedJob { job, since }, pool, heard_at });
        self.changes.workflow_jobs.insert(id);
        // A scale set's runners are told of by its own messages: the ids of their jobs are others, and one job is not counted twice.
        let alone = |runner: &RunnerName| {
            let pool = self.pools.get(runner.pool_str());
            pool.is_some_and(|pool| pool.state.registers_in.is_some())
        };
        let runner = runner.and_then(|runner| RunnerName::new(runner).ok()).filter(alone);
        if let Some(runner) = runner {
            self.runner_has_job(&runner, &id.job_id(), completed, true, now);
        }
        self.prune_workflow_jobs(now);
    }

    /// Takes the place of the job's row, and keeps the indexes true.
    fn keep_workflow_job(&mut self, next: KnownJob) {
        let id = next.row.job.id;
        self.leave_queue(id);
        let was_completed = self.workflow_job(id).is_some_and(KnownJob::is_completed);
        if next.is_completed() && !was_completed {
            self.workflow_jobs.completed.push_back((next.row.since, id));
        }
        if next.row.job.status == WorkflowJobStatus::Queued
            && let Some(pool) = next.pool.as_ref().and_then(|pool| self.pools.get_mut(pool))
        {
            pool.queue.insert((next.heard_at, id));
            pool.touched = true;
        }
        self.workflow_jobs.rows.insert(id, next);
        for view in self.scopes.values_mut() {
            view.catch_up.missing.remove(&id);
        }
    }

    /// A list or a look that was begun at `at` told what is known already.
    fn hear_workflow_job(&mut self, id: WorkflowJobId, at: Timestamp) {
        if let Some(known) = self.workflow_job(id).cloned() {
            let heard_at = known.heard_at.max(at);
            self.keep_workflow_job(KnownJob { heard_at, ..known });
        }
    }

    fn leave_queue(&mut self, id: WorkflowJobId) {
        let Some(known) = self.workflow_jobs.rows.get(&id) else { return };
        if let Some(pool) = known.pool.as_ref().and_then(|pool| self.pools.get_mut(pool)) {
            pool.touched |= pool.queue.remove(&(known.heard_at, id));
        }
    }

    /// Takes away the oldest completed jobs.
    fn prune_workflow_jobs(&mut self, now: Timestamp) {
        while let Some((since, id)) = self.workflow_jobs.completed.front().copied() {
            let kept = self.workflow_jobs.completed.len() <= COMPLETED_MAX;
            if kept && later(since, COMPLETED_KEPT) > now {
                return;
            }
            self.workflow_jobs.completed.pop_front();
            // It may have been known again since.
            if self
                .workflow_job(id)
                .is_some_and(|known| known.is_completed() && known.row.since == since)
            {
                self.workflow_jobs.rows.remove(&id);
                self.changes.workflow_jobs.insert(id);
            }
        }
    }

    /// What the scope's repositories have to do. A job that is believed to go on and is not among it has ended, or its repository
    /// was not looked at: it is read by its id. Of what could not be read, everything is believed as before.
    pub(super) fn apply_caught_up(
        &mut self,
        scope: &ScopeName,
        began_at: Timestamp,
        result: Result<CaughtUp, ForgeError>,
        now: Timestamp,
    ) {
        let mut caught_up = match result {
            Ok(caught_up) => caught_up,
            Err(error) => return self.not_caught_up(scope, &error, now),
        };
        self.credential_works(scope, now);
        let mut news = 0;
        for job in std::mem::take(&mut caught_up.jobs) {
            let id = job.id;
            let status = |world: &Self| world.workflow_job(id).map(|known| known.row.job.status);
            let before = status(self);
            self.apply_evidence(job, Some(began_at), now);
            news += usize::from(status(self) != before);
        }
        let over = |known: &&KnownJob| {
            !known.is_completed()
                && known.heard_at < began_at
                && self.routes().scope_of(&known.row.job.repository) == Some(scope)
                && !caught_up.may_lack(&known.row.job)
        };
        let over: Vec<KnownJob> = self.workflow_jobs().filter(over).cloned().collect();
        // No runner would be made for one that no pool takes: to read it is not worth a request.
        let (missing, foreign): (Vec<_>, Vec<_>) =
            over.into_iter().partition(|known| known.pool.is_some());
        for known in foreign {
            if later(known.row.since, longest(known.row.job.status)) <= now {
                self.end_untold(known.row.job.id, began_at, now);
            }
        }
        for known in &missing {
            self.leave_queue(known.row.job.id);
            // Nothing that was told of it is believed any more.
            self.keep_workflow_job(KnownJob { heard_at: Timestamp::MIN, ..known.clone() });
        }
        let CaughtUp { cursor, redelivered, left_out, trouble, .. } = caught_up;
        let is_whole = left_out.is_empty();
        let Some(view) = self.scopes.get_mut(scope) else { return };
        view.catch_up.missing.extend(missing.iter().map(|known| known.row.job.id));
        if is_whole {
            view.catch_up.done_at = Some(began_at);
        }
        if trouble.is_none() {
            view.catch_up.attempt = None;
        }
        if cursor.is_some() && view.catch_up.state.cursor != cursor {
            view.catch_up.state.cursor = cursor;
            self.changes.scopes.insert(scope.clone());
        }
        for pool in self.pools.values_mut().filter(|pool| pool.is_routed_in(scope)) {
            // What these runners did is in the list, or is read, or may be in what was left out.
            pool.finished.retain(|_, finished| finished.at >= began_at || !is_whole);
            pool.touched = true;
        }
        if news + missing.len() > 0 || redelivered > 0 {
            let what = format!(
                "caught up: {news} jobs had news, {} are looked at one by one, {redelivered} failed deliveries are asked for again",
                missing.len()
            );
            self.tell(EventKind::Scope { scope: scope.clone(), what }, now);
        }
        if let Some(trouble) = trouble {
            self.not_caught_up(scope, &trouble, now);
        }
    }

    /// A list, or a part of it, is tried again. The first failure in a row is told.
    fn not_caught_up(&mut self, scope: &ScopeName, error: &ForgeError, now: Timestamp) {
        self.look_failed(scope, error, now);
        let Some(view) = self.scopes.get_mut(scope) else { return };
        let before = view.catch_up.attempt.take();
        view.catch_up.attempt = Some(Attempt::after(before.as_ref(), &error.to_string(), now));
        if before.is_none() {
            let what = format!("not caught up on, and tried again: {error}");
            self.tell(EventKind::Scope { scope: scope.clone(), what }, now);
        }
    }

    /// A job is over, and nobody told how it ended.
    fn end_untold(&mut self, id: WorkflowJobId, looked_at: Timestamp, now: Timestamp) {
        let Some(known) = self.workflow_job(id) else { return };
        let over = WorkflowJob {
            status: WorkflowJobStatus::Completed,
            conclusion: Some(UNTOLD.into()),
            ..known.row.job.clone()
        };
        self.apply_evidence(over, Some(looked_at), now);
    }

    /// What GitHub said of one job.
    pub(super) fn apply_read(
        &mut self,
        scope: &ScopeName,
        id: WorkflowJobId,
        began_at: Timestamp,
        result: Result<Option<Box<WorkflowJob>>, ForgeError>,
        now: Timestamp,
    ) {
        match result {
            Ok(found) => {
                self.credential_works(scope, now);
                if let Some(view) = self.scopes.get_mut(scope) {
                    view.catch_up.read_attempt = None;
                }
                let same = found.as_ref().is_some_and(|job| job.id == id);
                if let Some(job) = found {
                    self.apply_evidence(*job, Some(began_at), now);
                }
                // GitHub does not know it any more, or runs it again.
                if !same {
                    self.end_untold(id, began_at, now);
                }
            }
            // It can't be known. A runner that idles costs less than a job that waits for ever.
            Err(error) if matches!(error.kind, ForgeErrorKind::NotAllowed(_)) => {
                let is_over =
                    |known: &KnownJob| later(known.row.since, longest(known.row.job.status)) <= now;
                if self.workflow_job(id).is_some_and(is_over) {
                    self.end_untold(id, began_at, now);
                } else {
                    self.hear_workflow_job(id, began_at);
                }
                let Some(view) = self.scopes.get_mut(scope) else { return };
                if !std::mem::replace(&mut view.catch_up.may_not_read, true) {
                    let what = format!(
                        "scope {scope} may not read a job, so that runners are made for what webhooks told last, true or not: {error}"
                    );
                    self.tell(EventKind::Alarm { pool: None, what }, now);
                }
            }
            Err(error) => {
                self.look_failed(scope, &error, now);
                if let Some(view) = self.scopes.get_mut(scope) {
                    let attempt = view.catch_up.read_attempt.as_ref();
                    view.catch_up.read_attempt =
                        Some(Attempt::after(attempt, &error.to_string(), now));
                }
            }
        }
    }

    /// Runners are made without the permissions that lists and looks need: only what concerns the credential as a whole does.
    fn look_failed(&mut self, scope: &ScopeName, error: &ForgeError, now: Timestamp) {
        if !matches!(error.kind, ForgeErrorKind::NotAllowed(_)) {
            self.credential_trouble(scope, error, Api::Rest, now);
        }
    }

    /// How many jobs of a scope are being read.
    #[must_use]
    pub fn reads(&self, scope: &ScopeName) -> usize {
        let flight = |id, attempt| Flight::ReadJob(scope.clone(), WorkflowJobId { id, attempt });
        self.flights.range(flight(i64::MIN, 0)..=flight(i64::MAX, u32::MAX)).count()
    }
}

impl KnownJob {
    fn is_completed(&self) -> bool {
        self.row.job.status == WorkflowJobStatus::Completed
    }
}

/// From when on what a delivery of `arrived` told is believed. One that comes late, or again, may tell of what was over long ago:
/// a job that was queued long before is looked at first.
fn believed_from(job: &WorkflowJob, arrived: Timestamp) -> Timestamp {
    job.created_at.filter(|at| later(*at, QUEUE_BELIEVED) <= arrived).unwrap_or(arrived)
}
