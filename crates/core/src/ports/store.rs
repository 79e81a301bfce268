//! The disk: the log of what was decided, never the read path.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    ControllerId, Job, JobId, PoolName, PoolState, Runner, RunnerName, ScopeName, ScopeState,
    TrackedJob, Trouble, TroubleKey, WorkflowJobId,
};

/// A job's key: its pool and GitHub's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobKey {
    /// The pool it was given to.
    pub pool: PoolName,
    /// GitHub's id.
    pub job: JobId,
}

/// Changes to be committed together: `None` deletes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Runners. A row's generation must be one more than the stored one (1 for a new row).
    pub runners: BTreeMap<RunnerName, Option<Runner>>,
    /// Pools. The same rule holds for their generation.
    pub pools: BTreeMap<PoolName, Option<PoolState>>,
    /// Jobs.
    pub jobs: BTreeMap<JobKey, Option<Job>>,
    /// Workflow jobs.
    pub workflow_jobs: BTreeMap<WorkflowJobId, Option<TrackedJob>>,
    /// Scopes.
    pub scopes: BTreeMap<ScopeName, Option<ScopeState>>,
    /// Troubles.
    pub troubles: BTreeMap<TroubleKey, Option<Trouble>>,
    /// The controller's clock at the commit; not every commit stores it.
    pub clock: Option<Timestamp>,
}

impl Batch {
    /// Whether there is nothing to commit. The clock alone is no reason for a commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runners.is_empty()
            && self.pools.is_empty()
            && self.jobs.is_empty()
            && self.workflow_jobs.is_empty()
            && self.scopes.is_empty()
            && self.troubles.is_empty()
    }
}

/// All that a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose store it is.
    pub controller: ControllerId,
    /// The clock at the newest commit that stored it.
    pub clock: Option<Timestamp>,
    /// Every runner that is not gone.
    pub runners: Vec<Runner>,
    /// Every pool ever seen and not deleted.
    pub pools: Vec<PoolState>,
    /// Jobs with their pools.
    pub jobs: Vec<(PoolName, Job)>,
    /// Workflow jobs.
    pub workflow_jobs: Vec<TrackedJob>,
    /// Scopes of which something is remembered.
    pub scopes: Vec<(ScopeName, ScopeState)>,
    /// Troubles.
    pub troubles: Vec<(TroubleKey, Trouble)>,
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The disk is full; nothing of the batch is stored.
    Full,
    /// The file system or the file is read-only.
    ReadOnly,
    /// Another daemon has the store.
    Locked,
    /// A newer dayfly made the store.
    Newer,
    /// A row was changed behind our back: two daemons on one store, or a bug.
    Generation,
    /// The file is damaged, or no store.
    Corrupt,
    /// Anything else of the system.
    Io,
}

/// A failed call on the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct StoreError {
    /// What kind.
    pub kind: StoreErrorKind,
    /// What was to be done, and on which file.
    pub operation: String,
    /// What the system said, and what to do.
    pub detail: String,
}

/// Where rows and evidence outlive the daemon. Synchronous: the daemon calls it on a thread of its own.
pub trait Store: Send {
    /// All that it holds.
    ///
    /// # Errors
    /// Where the file can't be read, or holds what this version does not understand.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Stores the batch whole or not at all; has reached the disk when it returns.
    ///
    /// # Errors
    /// Then nothing of the batch is stored.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;
}
