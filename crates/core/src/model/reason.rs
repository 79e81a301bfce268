//! Why a runner is removed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a runner is removed. Reaches the event log, and the report in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Its job ended, and its process with it.
    JobDone,
    /// The engine refused to make the instance.
    CreateFailed {
        /// The engine's words.
        error: String,
    },
    /// The engine neither answered nor showed the instance in time.
    CreateTimeout,
    /// The instance was not ready in time.
    BootTimeout,
    /// The registration was not minted in time, or the hand-over failed.
    HandOverFailed {
        /// What failed.
        error: String,
    },
    /// The runner was not online in time after the hand-over.
    StartTimeout,
    /// The runner's process ended without a job.
    EndedWithoutJob {
        /// How it ended, in words.
        exit: String,
    },
    /// GitHub removed the idle registration, or the runner ended after it idled at least two minutes (F10).
    IdleRemoved,
    /// The pool keeps fewer idle runners by now.
    TooMany,
    /// GitHub did not see it for a while, though its process lives.
    WentOffline,
    /// Nothing waits for it any more.
    Surplus,
    /// A runner of another pool, for a job or kept online, had no room in the backend's budget.
    GaveWay,
    /// It idled longer than `idle`.
    IdleTimeout,
    /// The pool was drained.
    Drained,
    /// The pool is being deleted, or is no longer in the configuration.
    PoolRemoved,
    /// The pool's image, resources or labels changed.
    ImageReplaced,
    /// The instance was warm longer than `warm`.
    WarmExpired,
    /// It bears our tag and the store did not know it.
    Orphan,
    /// Its job ran longer than `job_timeout`.
    JobTimeout,
    /// A user removed it.
    Removed,
    /// A user had the pool's runners replaced.
    Flushed,
    /// Its instance vanished without a word of the engine.
    InstanceLost,
}

impl Reason {
    /// Whether the removal counts as a failure of the pool on its backend (pausing after three in a row).
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::CreateFailed { .. }
                | Self::CreateTimeout
                | Self::BootTimeout
                | Self::HandOverFailed { .. }
                | Self::StartTimeout
                | Self::EndedWithoutJob { .. }
        )
    }

    /// Whether the instance may be destroyed without GitHub's consent: the exceptions to "busy is sacred".
    #[must_use]
    pub fn overrides_busy(&self) -> bool {
        matches!(self, Self::JobTimeout)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JobDone => f.write_str("its job is done"),
            Self::CreateFailed { error } => write!(f, "the engine refused to create it: {error}"),
            Self::CreateTimeout => f.write_str("the engine did not create it in time"),
            Self::BootTimeout => f.write_str("it was not ready in time"),
            Self::HandOverFailed { error } => {
                write!(f, "its registration could not be handed over: {error}")
            }
            Self::StartTimeout => f.write_str("the runner did not come online in time"),
            Self::EndedWithoutJob { exit } => write!(f, "the runner ended without a job: {exit}"),
            Self::IdleRemoved => f.write_str("the idle runner was removed by GitHub"),
            Self::TooMany => f.write_str("the pool keeps fewer idle runners by now"),
            Self::WentOffline => f.write_str("GitHub has not seen it for ten minutes"),
            Self::Surplus => f.write_str("no job waits for it any more"),
            Self::GaveWay => f.write_str("another pool needs its room for a runner"),
            Self::IdleTimeout => f.write_str("it idled too long"),
            Self::Drained => f.write_str("the pool is drained"),
            Self::PoolRemoved => f.write_str("the pool is removed"),
            Self::ImageReplaced => f.write_str("the pool's image or settings changed"),
            Self::WarmExpired => f.write_str("it was warm too long"),
            Self::Orphan => f.write_str("the store did not know it"),
            Self::JobTimeout => f.write_str("its job ran longer than job_timeout"),
            Self::Removed => f.write_str("a user removed it"),
            Self::Flushed => f.write_str("a user had the pool's runners replaced"),
            Self::InstanceLost => f.write_str("its instance vanished"),
        }
    }
}
