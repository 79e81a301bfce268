//! Takes in what GitHub says of scale sets, sessions, polls and acknowledgements.

use jiff::{SignedDuration, Timestamp};

use super::{World, apply::Api};
use crate::{
    effect::{ScaleSetCall, ScaleSetOutcome},
    model::{
        Attempt, EventKind, Job, JobState, Message, MessageId, PoolName, ScaleSetTrack, SessionId,
        SessionTrack, Statistics, Trouble, TroubleKey,
    },
    planted::{Bug, planted},
    ports::{ForgeError, ForgeErrorKind, ScaleSetRecord},
};

/// The first wait after a call for a scale set failed.
const SET_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// The longest wait between two attempts while GitHub does not answer.
const OUTAGE_WAIT_MAX: SignedDuration = SignedDuration::from_secs(30);

/// The wait after GitHub refused a session because another one stands: it lingers for minutes (F1).
const CONFLICT_WAIT: SignedDuration = SignedDuration::from_secs(30);

impl World {
    pub(super) fn apply_scale_set(
        &mut self,
        name: &PoolName,
        call: &ScaleSetCall,
        result: ScaleSetOutcome,
        now: Timestamp,
    ) {
        if !self.pools.contains_key(name) {
            return;
        }
        if let ScaleSetOutcome::Failed(error) = result {
            return self.apply_scale_set_failed(name, call, &error, now);
        }
        self.set_trouble(TroubleKey::ScaleSet { pool: name.clone() }, None, now);
        if let Some(scope) = self.scope_of(name.as_str()) {
            self.credential_works(&scope, now);
        }
        match result {
            ScaleSetOutcome::Group(id) => {
                if let Some(pool) = self.change_pool(name) {
                    pool.group = Some(id);
                    if let ScaleSetCall::FindGroup(name) = call {
                        pool.group_name = Some(name.clone());
                    }
                    pool.set_absent = false;
                }
            }
            ScaleSetOutcome::Set(record) => self.apply_set(name, call, record, now),
            ScaleSetOutcome::Deleted => self.apply_deleted(name, now),
            ScaleSetOutcome::Session { id, statistics } => {
                self.apply_session(name, call, id, statistics, now);
            }
            ScaleSetOutcome::SessionClosed => {
                if let Some(pool) = self.change_pool(name) {
                    pool.forget_session();
                }
            }
            ScaleSetOutcome::Acquired(won) => {
                if let ScaleSetCall::Acquire(_, asked) = call {
                    self.acquired(name, asked, &won, now);
                }
            }
            ScaleSetOutcome::Failed(_) => {}
        }
    }

    /// What was won is assigned from now on, so that no more is acquired than can be served; its JobAssigned adds
    /// nothing. What was not is someone else's.
    fn acquired(&mut self, name: &PoolName, asked: &[i64], won: &[i64], now: Timestamp) {
        let Some(pool) = self.pools.get_mut(name) else {
            return;
        };
        pool.touched = true;
        let offered: Vec<_> = pool
            .available
            .iter()
            .filter_map(|id| pool.jobs.get(id))
            .filter(|job| asked.contains(&job.request_id))
            .cloned()
            .collect();
        for job in offered {
            self.changes.jobs.insert(Self::job_key(name, &job.id));
            if won.contains(&job.request_id) {
                let assignments = job.assignments.saturating_add(1);
                let state = JobState::Assigned { since: now };
                pool.put_job(Job { state, assignments, ..job });
            } else {
                pool.available.remove(&job.id);
                pool.jobs.remove(&job.id);
            }
        }
    }

    fn apply_set(
        &mut self,
        name: &PoolName,
        call: &ScaleSetCall,
        record: Option<ScaleSetRecord>,
        now: Timestamp,
    ) {
        let Some(pool) = self.change_pool(name) else {
            return;
        };
        match (call, record) {
            (ScaleSetCall::Find { .. }, None) => pool.set_absent = true,
            // Not ours unless we were making it: the planner looks at `found` through the trouble it raises.
            (ScaleSetCall::Find { .. }, Some(record)) => {
                // One that we were making has no runners: with some, another controller was faster.
                let unused = record.statistics.is_none_or(|counts| counts.registered == 0);
                let made = unused && matches!(pool.state.scale_set, ScaleSetTrack::Creating { .. });
                pool.found = Some((record, made));
            }
            (ScaleSetCall::Create { labels, .. }, Some(record)) => {
                let refused = !same_labels(labels, &record.labels);
                pool.labels_refused = refused.then(|| labels.clone());
                pool.found = Some((record, true));
                pool.set_absent = false;
                if refused {
                    self.alarm_labels(name, now);
                }
            }
            (ScaleSetCall::Update { labels, .. }, Some(record)) => {
                let refused = !same_labels(labels, &record.labels);
                pool.labels_refused = refused.then(|| labels.clone());
                if let ScaleSetTrack::Present { labels, group, group_name, .. } =
                    &mut pool.state.scale_set
                {
                    *labels = record.labels;
                    *group = record.group;
                    // Where GitHub left it in its group, it is not asked again in this life.
                    if pool.group.is_some() {
                        group_name.clone_from(&pool.group_name);
                    }
                }
                if refused {
                    self.alarm_labels(name, now);
                } else {
                    self.tell(
                        EventKind::ScaleSet { pool: name.clone(), what: "labels changed".into() },
                        now,
                    );
                }
            }
            _ => self.odd(
                &format!(
                    "an answer for the scale set of pool {name} that does not fit its question"
                ),
                now,
            ),
        }
    }

    fn alarm_labels(&mut self, name: &PoolName, now: Timestamp) {
        let what = format!(
            "GitHub did not take every label of pool {name}: GitHub Enterprise Server before 3.21 keeps only the \
             scale set's name, unless DistributedTask.AllowRunnerScaleSetCustomLabels is on"
        );
        self.tell(EventKind::Alarm { pool: Some(name.clone()), what }, now);
    }

    fn apply_deleted(&mut self, name: &PoolName, now: Timestamp) {
        self.forget_set(name);
        if let Some(pool) = self.change_pool(name) {
            pool.set_absent = true;
        }
        self.tell(
            EventKind::ScaleSet { pool: name.clone(), what: "scale set deleted".into() },
            now,
        );
    }

    fn apply_session(
        &mut self,
        name: &PoolName,
        call: &ScaleSetCall,
        id: SessionId,
        statistics: Statistics,
        now: Timestamp,
    ) {
        let opened = matches!(call, ScaleSetCall::OpenSession(_));
        let (ScaleSetCall::OpenSession(set) | ScaleSetCall::RefreshSession(set, _)) = call else {
            return self.odd(&format!("a session for pool {name} that nobody asked for"), now);
        };
        let Some(pool) = self.change_pool(name) else {
            return;
        };
        if pool.state.scale_set.id() != Some(*set) {
            return self.odd(&format!("a session of scale set {set}, which pool {name} lost"), now);
        }
        if opened && !planted(Bug::CursorNotReset) {
            pool.state.cursor = MessageId(0);
        }
        let closing = matches!(pool.state.session, SessionTrack::Closing { .. });
        if !closing {
            pool.state.session = SessionTrack::Open { id, since: now };
        }
        pool.state.statistics = Some((statistics, now));
        pool.heard_at = Some(now);
        pool.refreshed_at = Some(now);
        // Fresh counts: ends from before they were asked for are in them.
        if let Some(began) = pool.refresh_began_at.take() {
            pool.finished.retain(|_, finished| finished.at >= began);
            let settled = pool.settle_jobs(statistics, began, now);
            self.changes.jobs.extend(settled.iter().map(|job| Self::job_key(name, job)));
        }
        if opened {
            self.tell(
                EventKind::ScaleSet { pool: name.clone(), what: "session opened".into() },
                now,
            );
        }
    }

    fn apply_scale_set_failed(
        &mut self,
        name: &PoolName,
        call: &ScaleSetCall,
        error: &ForgeError,
        now: Timestamp,
    ) {
        let Some(pool) = self.change_pool(name) else {
            return;
        };
        pool.refresh_began_at = None;
        match (&error.kind, call) {
            // A session that is gone is closed; one to be refreshed is opened anew, at once.
            (
                ForgeErrorKind::SessionGone | ForgeErrorKind::NotFound,
                ScaleSetCall::RefreshSession(..) | ScaleSetCall::CloseSession(..),
            ) => {
                pool.forget_session();
                let what = format!("the session is gone: {}", error.detail);
                return self.tell(EventKind::ScaleSet { pool: name.clone(), what }, now);
            }
            (ForgeErrorKind::ScaleSetGone, _)
            | (
                ForgeErrorKind::NotFound,
                ScaleSetCall::OpenSession(_) | ScaleSetCall::Update { .. },
            ) => {
                return self.set_gone(name, now);
            }
            // Perhaps it was made all the same, or the name is somebody else's. A look tells.
            (_, ScaleSetCall::Create { .. }) => pool.set_absent = false,
            _ => {}
        }
        if let Some(scope) = self.scope_of(name.as_str()) {
            self.credential_trouble(&scope, error, Api::Service, now);
        }
        let key = TroubleKey::ScaleSet { pool: name.clone() };
        let conflict =
            error.kind == ForgeErrorKind::Conflict && matches!(call, ScaleSetCall::OpenSession(_));
        let wait = if conflict { CONFLICT_WAIT } else { SET_WAIT };
        let mut trouble = Trouble::after(self.troubles.get(&key), wait, &error.to_string(), now);
        if conflict
            && planted(Bug::SessionOfAnotherDeleted)
            && let Some(pool) = self.change_pool(name)
            && let Some(id) = pool.state.scale_set.id()
        {
            pool.state.scale_set = ScaleSetTrack::Deleting { since: now, id, scope: None };
        }
        if conflict {
            trouble = trouble.until(crate::model::later(now, CONFLICT_WAIT));
        }
        // An outage's end is noticed within half a minute.
        if error.kind == ForgeErrorKind::Transient {
            let latest = crate::model::later(now, OUTAGE_WAIT_MAX);
            let next = trouble.next_attempt_at.min(latest);
            trouble = trouble.until(next);
        }
        if let ForgeErrorKind::RateLimited(until) = &error.kind {
            trouble = trouble.until((*until).max(now));
        }
        self.set_trouble(key, Some(trouble), now);
    }

    /// The scale set is gone: it is made anew.
    pub(super) fn set_gone(&mut self, name: &PoolName, now: Timestamp) {
        self.forget_set(name);
        let what = "the scale set is gone from GitHub".into();
        self.tell(EventKind::ScaleSet { pool: name.clone(), what }, now);
    }

    pub(super) fn forget_set(&mut self, name: &PoolName) {
        if let Some(pool) = self.change_pool(name) {
            let jobs = pool.forget_set();
            self.changes.jobs.extend(jobs.iter().map(|job| Self::job_key(name, job)));
        }
    }

    pub(super) fn apply_poll(
        &mut self,
        name: &PoolName,
        result: Result<Option<Message>, ForgeError>,
        now: Timestamp,
    ) {
        let Some(pool) = self.pools.get_mut(name) else {
            return;
        };
        pool.touched = true;
        pool.polled_capacity = None;
        // The session of this poll is over, and perhaps its set: GitHub tells what is left to the next session.
        if pool.state.session == SessionTrack::None {
            return;
        }
        match result {
            Ok(message) => {
                self.set_trouble(TroubleKey::ScaleSet { pool: name.clone() }, None, now);
                if let Some(message) = message {
                    self.apply_message(name, message, now);
                }
            }
            Err(error) if error.kind == ForgeErrorKind::SessionGone => {
                if let Some(pool) = self.change_pool(name) {
                    pool.forget_session();
                }
                let what = format!("the session is gone: {}", error.detail);
                self.tell(EventKind::ScaleSet { pool: name.clone(), what }, now);
            }
            Err(error) => {
                // As for any call on the set, but a poll has no state of its own to settle.
                let call = ScaleSetCall::FindGroup(String::new());
                self.apply_scale_set_failed(name, &call, &error, now);
            }
        }
    }

    pub(super) fn apply_acknowledged(
        &mut self,
        name: &PoolName,
        message: MessageId,
        result: Result<(), ForgeError>,
        now: Timestamp,
    ) {
        let Some(pool) = self.change_pool(name) else {
            return;
        };
        match result {
            Ok(()) => {
                pool.state.unacknowledged.remove(&message);
                pool.acknowledge_attempt = None;
            }
            // Whoever opens the next session sees the message again; then it is deleted.
            Err(error) if error.kind == ForgeErrorKind::SessionGone => {
                pool.state.unacknowledged.clear();
                pool.forget_session();
            }
            Err(error) => {
                let attempt =
                    Attempt::after(pool.acknowledge_attempt.as_ref(), &error.to_string(), now);
                pool.acknowledge_attempt = Some(attempt);
            }
        }
    }
}

/// Whether two sets of labels are the same, without case and order.
pub(crate) fn same_labels(wanted: &[String], have: &[String]) -> bool {
    // As it is in all but a few of the plans that ask.
    if wanted == have {
        return true;
    }
    let fold = |labels: &[String]| {
        labels.iter().map(|label| label.to_lowercase()).collect::<std::collections::BTreeSet<_>>()
    };
    fold(wanted) == fold(have)
}
