//! What is known of backends, of scopes, and of runners that are gone.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    model::{Attempt, Budget, Detected, Reason, RunnerName, ScopeState, Used, WorkflowJobId},
    ports::{Capabilities, RateLimit},
};

/// What is known of a backend.
#[derive(Debug, Clone)]
pub struct BackendView {
    /// What it can do.
    pub capabilities: Capabilities,
    /// When its newest complete list was begun; `None`: never in this life, so nothing is created on it yet.
    pub listed_at: Option<Timestamp>,
    /// Whether a list is due at once.
    pub list_due: bool,
    /// Whether its events are being followed.
    pub watched: bool,
    /// Create calls under way.
    pub creates: u32,
    /// How much of it the user lets be used.
    pub budget: Budget,
    /// Which limits of that are what it says that it has: as of its newest list.
    pub detects: Detected,
    /// Whether it told them in this life; nothing is made on it before.
    pub measured: bool,
    /// How much of it is used by the instances of every pool that may live, as their rows say.
    pub used: Used,
}

impl BackendView {
    /// Whether it was listed in this life, and told what it has where it is to.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.listed_at.is_some() && self.measured
    }
}

/// What is known of a scope.
#[derive(Debug, Clone, Default)]
pub struct ScopeView {
    /// When its newest complete list of registrations was begun.
    pub listed_at: Option<Timestamp>,
    /// How many registrations that list had.
    pub size: usize,
    /// Lists that failed since.
    pub attempt: Option<Attempt>,
    /// What its credential may still ask, as of GitHub's newest answer.
    pub rate_limit: Option<RateLimit>,
    /// What its webhooks may not have told.
    pub catch_up: CatchUpView,
}

/// How far a scope's workflow jobs are caught up on.
#[derive(Debug, Clone, Default)]
pub struct CatchUpView {
    /// The stored row.
    pub state: ScopeState,
    /// When the newest list was begun; `None`: not in this life yet.
    pub done_at: Option<Timestamp>,
    /// Lists that failed since.
    pub attempt: Option<Attempt>,
    /// Looks at jobs that failed since the last one that worked.
    pub read_attempt: Option<Attempt>,
    /// Whether it is known, and told, that the credential may not read jobs.
    pub may_not_read: bool,
    /// Jobs that were believed to wait or run and that the newest list did not have: they are read one by one.
    pub missing: BTreeSet<WorkflowJobId>,
}

/// A runner that is gone.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its name.
    pub name: RunnerName,
    /// When the last of it was gone.
    pub at: Timestamp,
    /// Why it was removed.
    pub reason: Option<Reason>,
    /// Whether it had a job.
    pub had_job: bool,
}
