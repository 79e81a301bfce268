//! A workflow job: from queued to its conclusion. Its state only moves forward, but for an assignment that no runner took.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{JobId, RunId, RunnerId, ScopeId, SetId};
use crate::message::EntryKind;
use crate::moment;
use crate::sim::Sim;
use crate::timer::Timer;
use crate::waiting::BucketId;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// All steps succeeded.
    Success,
    /// A step failed, or the job's runner was lost, or none came.
    Failure,
    /// By a user or a limit.
    Cancelled,
}

impl Conclusion {
    /// As the public REST writes it.
    #[must_use]
    pub fn public(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }

    /// As messages and runners write it.
    #[must_use]
    pub fn result(self) -> &'static str {
        match self {
            Self::Success => "succeeded",
            Self::Failure => "failed",
            Self::Cancelled => "canceled",
        }
    }

    /// Reads a runner's word, loosely.
    #[must_use]
    pub fn from_result(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "success" | "succeeded" | "succeededwithissues" => Self::Success,
            "canceled" | "cancelled" => Self::Cancelled,
            _ => Self::Failure,
        }
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobState {
    /// It waits for somebody's approval: nobody may take it yet.
    Held,
    /// In its bucket.
    Waiting,
    /// Given to a set, which has no runner for it yet.
    Assigned { set: SetId },
    /// Handed to a runner, which has not accepted it.
    Offered { set: Option<SetId>, runner: RunnerId },
    /// Accepted by a runner.
    Running { set: Option<SetId>, runner: RunnerId },
    /// Over.
    Completed { conclusion: Conclusion },
}

#[derive(Debug)]
pub(crate) struct Job {
    pub id: JobId,
    pub uuid: Uuid,
    pub run: RunId,
    pub attempt: u32,
    pub repo: ScopeId,
    pub name: String,
    pub labels: Vec<String>,
    pub steps: Arc<[String]>,
    pub bucket: BucketId,
    pub state: JobState,
    /// Assignments so far.
    pub round: u32,
    pub cancel_requested: bool,
    pub queued_at: Timestamp,
    pub assigned_at: Option<Timestamp>,
    /// When the first message with this job's JobAssigned was answered.
    pub told_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    /// As the runner reported it, Unix seconds.
    pub first_step_at: Option<f64>,
    pub completed_at: Option<Timestamp>,
    /// The runner that accepted it; stays after the end.
    pub runner: Option<(RunnerId, String)>,
    pub step_results: serde_json::Value,
    /// The newest output, bounded by [`JOB_LOG_MAX`].
    pub log: String,
}

/// Bytes of a job's output that are kept: enough for an assertion or a look.
pub(crate) const JOB_LOG_MAX: usize = 16 * 1024;

impl Job {
    pub fn status(&self) -> &'static str {
        match self.state {
            JobState::Held => "waiting",
            JobState::Waiting | JobState::Assigned { .. } | JobState::Offered { .. } => "queued",
            JobState::Running { .. } => "in_progress",
            JobState::Completed { .. } => "completed",
        }
    }

    pub fn conclusion(&self) -> Option<Conclusion> {
        match self.state {
            JobState::Completed { conclusion } => Some(conclusion),
            _ => None,
        }
    }
}

impl Sim {
    /// Puts a job (back) into its bucket and tells those who may take it.
    pub(crate) fn wait_for_taker(&mut self, at: Timestamp, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.state = JobState::Waiting;
        let bucket_id = job.bucket;
        let Some(bucket) = self.waiting.buckets.get_mut(bucket_id) else { return };
        bucket.jobs.insert(id);
        for set in bucket.sets.iter().copied().collect::<Vec<_>>() {
            if let Some(set) = self.sets.get_mut(set) {
                set.rewind(bucket_id, id);
            }
            self.wake_set(set);
        }
        self.offer_plain(at, bucket_id);
    }

    /// Somebody approved of a job that was held back; `false` where it was not.
    pub(crate) fn approve_job(&mut self, at: Timestamp, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        if job.state != JobState::Held {
            return false;
        }
        job.state = JobState::Waiting;
        job.queued_at = at;
        let run = job.run;
        self.run_moved(at, run, "waiting", id);
        self.held -= 1;
        self.begin_waiting(at, id);
        true
    }

    /// From now on a job waits for a runner, and not for ever.
    pub(crate) fn begin_waiting(&mut self, at: Timestamp, id: JobId) {
        self.timers.set(Timer::Queued(id), moment::after(at, self.options.queued_limit_ms));
        self.tell_hooks(at, id, "queued");
        self.wait_for_taker(at, id);
    }

    /// Takes a waiting job out of its bucket.
    pub(crate) fn leave_bucket(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(bucket) = self.waiting.buckets.get_mut(job.bucket) else { return };
        bucket.jobs.remove(&id);
        for set in bucket.sets.iter().copied().collect::<Vec<_>>() {
            if let Some(set) = self.sets.get_mut(set) {
                set.announced.remove(&id);
            }
        }
    }

    /// Gives a waiting job to a set and writes its JobAssigned entry.
    pub(crate) fn assign(&mut self, at: Timestamp, id: JobId, set_id: SetId) {
        self.leave_bucket(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.state = JobState::Assigned { set: set_id };
        job.round += 1;
        job.assigned_at = Some(at);
        if let Some(set) = self.sets.get_mut(set_id) {
            set.assigned.insert(id);
        }
        self.timers.set(Timer::Assigned(id), moment::after(at, self.options.reassign_ms));
        self.push_entry(set_id, EntryKind::Assigned, id, None);
        self.dispatch(at, set_id);
    }

    /// No runner took an assigned job in time: the set hears that it is cancelled, and gets it again; after the last round it fails.
    pub(crate) fn reassign(&mut self, at: Timestamp, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let JobState::Assigned { set } = job.state else { return };
        if job.round >= self.options.reassign_rounds {
            job.log.push_str("The job was not acquired by Runner of type self-hosted even after multiple attempts\n");
            self.finish_job(at, id, Conclusion::Failure);
            return;
        }
        job.round += 1;
        self.push_entry(set, EntryKind::Completed, id, Some(Conclusion::Cancelled));
        if let Some(job) = self.jobs.get_mut(&id) {
            job.assigned_at = Some(at);
        }
        self.push_entry(set, EntryKind::Assigned, id, None);
        self.timers.set(Timer::Assigned(id), moment::after(at, self.options.reassign_ms));
    }

    /// A runner did not accept the job that it was handed.
    pub(crate) fn offer_ignored(&mut self, at: Timestamp, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if let JobState::Offered { runner, .. } = job.state {
            self.clear_runner_job(runner);
            self.take_back(at, id);
            self.ready_again(at, runner);
        }
    }

    /// An offered job goes back to where it came from.
    pub(crate) fn take_back(&mut self, at: Timestamp, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let JobState::Offered { set, .. } = job.state else { return };
        self.timers.cancel(Timer::Offered(id));
        match set {
            Some(set_id) => {
                job.state = JobState::Assigned { set: set_id };
                if let Some(set) = self.sets.get_mut(set_id) {
                    set.assigned.insert(id);
                }
                self.timers.set(Timer::Assigned(id), moment::after(at, self.options.reassign_ms));
                self.dispatch(at, set_id);
            }
            None => self.wait_for_taker(at, id),
        }
    }

    /// The runner no longer renews its lock: the job has failed.
    pub(crate) fn lock_expired(&mut self, at: Timestamp, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.log.push_str("The self-hosted runner lost communication with the server.\n");
        }
        self.finish_job(at, id, Conclusion::Failure);
    }

    pub(crate) fn job_waited_too_long(&mut self, at: Timestamp, id: JobId) {
        if self.jobs.get(&id).is_some_and(|job| job.status() == "queued") {
            self.finish_job(at, id, Conclusion::Cancelled);
        }
    }

    /// A user cancels the job: at once while no runner has it, else by asking the runner.
    pub(crate) fn cancel_job(&mut self, at: Timestamp, id: JobId, force: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.state {
            JobState::Completed { .. } => {}
            JobState::Running { runner, .. } if !force => {
                if !std::mem::replace(&mut job.cancel_requested, true) {
                    self.timers
                        .set(Timer::Cancelled(id), moment::after(at, self.options.cancel_grace_ms));
                    self.wake_runner(runner);
                }
            }
            _ => self.finish_job(at, id, Conclusion::Cancelled),
        }
    }

    /// Ends a job; an ephemeral runner that ran it is removed with it.
    pub(crate) fn finish_job(&mut self, at: Timestamp, id: JobId, conclusion: Conclusion) {
        if let Some(runner) = self.conclude(at, id, conclusion) {
            self.clear_runner_job(runner);
            self.remove_runner(at, runner);
        }
    }

    /// Writes a job's end and tells its set. Returns the runner that was running it, which still holds it.
    pub(crate) fn conclude(
        &mut self,
        at: Timestamp,
        id: JobId,
        conclusion: Conclusion,
    ) -> Option<RunnerId> {
        let job = self.jobs.get_mut(&id)?;
        let state = job.state;
        let (set, running) = match state {
            JobState::Completed { .. } => return None,
            JobState::Held | JobState::Waiting => (None, None),
            JobState::Assigned { set } => (Some(set), None),
            JobState::Offered { set, .. } => (set, None),
            JobState::Running { set, runner } => (set, Some(runner)),
        };
        let before = job.status();
        match state {
            JobState::Held => self.held -= 1,
            JobState::Waiting => self.leave_bucket(id),
            _ => {}
        }
        if let JobState::Offered { runner, .. } = state {
            self.clear_runner_job(runner);
        }
        for timer in [
            Timer::Queued(id),
            Timer::Assigned(id),
            Timer::Offered(id),
            Timer::Lock(id),
            Timer::Cancelled(id),
        ] {
            self.timers.cancel(timer);
        }
        let job = self.jobs.get_mut(&id)?;
        job.state = JobState::Completed { conclusion };
        job.completed_at = Some(at);
        let run = job.run;
        *self.ended.entry(conclusion).or_default() += 1;
        if let Some(set_id) = set {
            if let Some(set) = self.sets.get_mut(set_id) {
                set.assigned.remove(&id);
                if running.is_some() {
                    set.running -= 1;
                }
            }
            self.push_entry(set_id, EntryKind::Completed, id, Some(conclusion));
            self.wake_set(set_id);
        }
        self.run_moved(at, run, before, id);
        self.tell_hooks(at, id, "completed");
        if let JobState::Offered { runner, .. } = state {
            self.ready_again(at, runner);
        }
        running
    }
}
