//! The event log's entries: what happened, typed, without a secret.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackendName, Exit, JobId, Phase, PoolName, Reason, RunnerName, ScopeName};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the controller's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A runner changed its phase.
    Runner {
        /// Which.
        runner: RunnerName,
        /// From.
        from: Option<Phase>,
        /// To.
        to: Phase,
    },
    /// A runner is to go.
    Retired {
        /// Which.
        runner: RunnerName,
        /// Why.
        #[serde(flatten)]
        reason: Reason,
    },
    /// An instance's process ended.
    Ended {
        /// Whose.
        runner: RunnerName,
        /// How.
        exit: Exit,
    },
    /// A job changed its state.
    Job {
        /// The pool it was given to.
        pool: PoolName,
        /// Which.
        job: JobId,
        /// available, assigned, started or completed; of a workflow job GitHub's own word: waiting, queued, in_progress or completed.
        state: Arc<str>,
        /// The runner, as GitHub names it.
        runner: Option<Arc<str>>,
    },
    /// A pool's scale set or session changed.
    ScaleSet {
        /// The pool.
        pool: PoolName,
        /// What happened, in words.
        what: String,
    },
    /// Something of a scope changed.
    Scope {
        /// The scope.
        scope: ScopeName,
        /// What happened, in words.
        what: String,
    },
    /// A call failed.
    Trouble {
        /// The pool concerned, where there is one.
        pool: Option<PoolName>,
        /// The backend concerned, where there is one.
        backend: Option<BackendName>,
        /// The scope concerned, where there is one.
        scope: Option<ScopeName>,
        /// What failed and what the other side said.
        error: String,
        /// Failures in a row.
        failures: u32,
        /// The next attempt.
        next_attempt_at: Timestamp,
    },
    /// Something that nobody here can mend alone.
    Alarm {
        /// The pool concerned, where there is one.
        pool: Option<PoolName>,
        /// What is wrong and what to do.
        what: String,
    },
    /// Odd input that was set aside.
    Odd {
        /// What.
        what: String,
    },
}
