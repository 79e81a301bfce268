//! Deadlines: one per subject, replaced when set again, so that none fires for what is over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::ids::{DeliveryId, HoldId, JobId, RunnerId, SetId};
use crate::sim::Sim;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A session without polls.
    Session(SetId),
    /// A job that waits for a runner at all.
    Queued(JobId),
    /// An assigned job without a runner.
    Assigned(JobId),
    /// A job handed to a runner that has not accepted it.
    Offered(JobId),
    /// A running job's lock.
    Lock(JobId),
    /// A cancelled job that its runner should end.
    Cancelled(JobId),
    /// A runner that never connected.
    Unconnected(RunnerId),
    /// A connected runner that no longer polls.
    Offline(RunnerId),
    /// A connected runner without a job.
    Idle(RunnerId),
    /// A held request.
    Hold(HoldId),
    /// A webhook's delivery that is late.
    Delivery(DeliveryId),
}

/// All deadlines, in order.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    at: BTreeMap<Timer, Timestamp>,
    queue: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    pub fn set(&mut self, timer: Timer, at: Timestamp) {
        if let Some(old) = self.at.insert(timer, at) {
            self.queue.remove(&(old, timer));
        }
        self.queue.insert((at, timer));
    }

    pub fn cancel(&mut self, timer: Timer) {
        if let Some(old) = self.at.remove(&timer) {
            self.queue.remove(&(old, timer));
        }
    }

    pub fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        let (at, timer) = *self.queue.first().filter(|(at, _)| *at <= now)?;
        self.cancel(timer);
        Some((at, timer))
    }
}

impl Sim {
    /// When the state next changes by itself; `None` when it does not.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Lets everything happen that is due at `now`, each at its own time. Time never runs backwards: an earlier `now` changes nothing.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            self.now = self.now.max(at);
            self.fire(at, timer);
        }
        self.now = self.now.max(now);
    }

    fn fire(&mut self, at: Timestamp, timer: Timer) {
        match timer {
            Timer::Session(set) => self.session_idle(at, set),
            Timer::Queued(job) => self.job_waited_too_long(at, job),
            Timer::Assigned(job) => self.reassign(at, job),
            Timer::Offered(job) => self.offer_ignored(at, job),
            Timer::Lock(job) => self.lock_expired(at, job),
            Timer::Cancelled(job) => self.finish_job(at, job, crate::job::Conclusion::Cancelled),
            Timer::Unconnected(runner) => self.remove_runner(at, runner),
            Timer::Offline(runner) => self.runner_silent(at, runner),
            Timer::Idle(runner) => self.runner_idle(at, runner),
            Timer::Hold(hold) => self.hold_due(hold),
            Timer::Delivery(delivery) => self.delivery_due(delivery),
        }
    }
}
