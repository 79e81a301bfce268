//! The second track of a runner: what GitHub knows of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobId, RegistrationId};

/// How a registration is proved gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// By asking GitHub to remove it: 204 or 404.
    Removal,
    /// By its absence from a complete list: GitHub itself removes the registration of a runner that had its job.
    Absence,
}

/// The state of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Registration {
    /// There is none.
    None,
    /// A mint was begun: GitHub may know the name.
    Minting {
        /// Since when.
        since: Timestamp,
    },
    /// GitHub knows it; its JIT configuration lies in the daemon's memory.
    Held {
        /// Since when.
        since: Timestamp,
        /// GitHub's id.
        id: RegistrationId,
    },
    /// The first byte of the hand-over may have left: the instance is spent.
    HandingOver {
        /// Since when.
        since: Timestamp,
        /// GitHub's id.
        id: RegistrationId,
    },
    /// The instance has the JIT configuration; the runner has not shown itself yet.
    HandedOver {
        /// Since when.
        since: Timestamp,
        /// GitHub's id.
        id: RegistrationId,
    },
    /// The runner waits for a job.
    Online {
        /// Since when.
        since: Timestamp,
        /// GitHub's id.
        id: RegistrationId,
    },
    /// The runner runs a job.
    Busy {
        /// Since when.
        since: Timestamp,
        /// GitHub's id, where it is known.
        id: Option<RegistrationId>,
        /// Which, where a message told it.
        job: Option<JobId>,
        /// When a message or the runner itself said that the job is complete.
        completed_at: Option<Timestamp>,
    },
    /// After a restart, or for an orphan: GitHub must be asked what it is.
    InDoubt {
        /// Since when.
        since: Timestamp,
        /// GitHub's id, where it is known.
        id: Option<RegistrationId>,
    },
    /// It is to be proved gone.
    Removing {
        /// Since when.
        since: Timestamp,
        /// GitHub's id, where it is known.
        id: Option<RegistrationId>,
        /// How.
        proof: Proof,
    },
    /// GitHub does not know it (any more).
    Gone {
        /// Since when.
        since: Timestamp,
    },
}

impl Registration {
    /// GitHub's id, where it is known.
    #[must_use]
    pub fn id(&self) -> Option<RegistrationId> {
        match self {
            Self::Held { id, .. }
            | Self::HandingOver { id, .. }
            | Self::HandedOver { id, .. }
            | Self::Online { id, .. } => Some(*id),
            Self::Busy { id, .. } | Self::InDoubt { id, .. } | Self::Removing { id, .. } => *id,
            Self::None | Self::Minting { .. } | Self::Gone { .. } => None,
        }
    }

    /// Since when it is in this state; `None` where there never was one.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::None => None,
            Self::Minting { since }
            | Self::Held { since, .. }
            | Self::HandingOver { since, .. }
            | Self::HandedOver { since, .. }
            | Self::Online { since, .. }
            | Self::Busy { since, .. }
            | Self::InDoubt { since, .. }
            | Self::Removing { since, .. }
            | Self::Gone { since } => Some(*since),
        }
    }

    /// The same state after the clock was set back to `now`: nothing is known since later.
    #[must_use]
    pub fn not_after(mut self, now: Timestamp) -> Self {
        match &mut self {
            Self::None => {}
            Self::Busy { since, completed_at, .. } => {
                *since = now.min(*since);
                *completed_at = completed_at.map(|at| now.min(at));
            }
            Self::Minting { since }
            | Self::Held { since, .. }
            | Self::HandingOver { since, .. }
            | Self::HandedOver { since, .. }
            | Self::Online { since, .. }
            | Self::InDoubt { since, .. }
            | Self::Removing { since, .. }
            | Self::Gone { since } => *since = now.min(*since),
        }
        self
    }

    /// Whether GitHub may know the name.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        !matches!(self, Self::None | Self::Gone { .. })
    }

    /// Whether a runner with it holds a job or can take one, now or soon.
    #[must_use]
    pub fn serves(&self) -> bool {
        !matches!(self, Self::None | Self::Removing { .. } | Self::Gone { .. })
    }

    /// The word for it, for messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minting { .. } => "minting",
            Self::Held { .. } => "held",
            Self::HandingOver { .. } => "handing over",
            Self::HandedOver { .. } => "handed over",
            Self::Online { .. } => "online",
            Self::Busy { .. } => "busy",
            Self::InDoubt { .. } => "in doubt",
            Self::Removing { .. } => "removing",
            Self::Gone { .. } => "gone",
        }
    }
}
