//! The first track of a runner: what the engine made.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::InstanceId;

/// The state of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Instance {
    /// The row is stored; no create call was made.
    Planned {
        /// Since when.
        since: Timestamp,
    },
    /// A create call was made and not answered, or answered "perhaps".
    Creating {
        /// Since when.
        since: Timestamp,
    },
    /// The engine has it; it is not ready yet.
    Booting {
        /// Since when.
        since: Timestamp,
        /// The engine's id.
        id: InstanceId,
    },
    /// Its waiter can take a registration.
    Ready {
        /// Since when.
        since: Timestamp,
        /// The engine's id.
        id: InstanceId,
    },
    /// A hand-over has begun: it never gets a second one.
    Spent {
        /// Since when.
        since: Timestamp,
        /// The engine's id.
        id: InstanceId,
    },
    /// The engine proved that its process has ended; what is left of it still lies there.
    Ended {
        /// Since when.
        since: Timestamp,
        /// How it ended.
        exit: Exit,
    },
    /// It is being destroyed. Room is free only where the process is known to have ended.
    Removing {
        /// Since when.
        since: Timestamp,
        /// How its process ended, where the engine proved it before.
        exit: Option<Exit>,
    },
    /// The engine has nothing of it.
    Gone {
        /// Since when.
        since: Timestamp,
        /// Whether its process had ended, or was ended by us: what the engine shows under its name later is not the runner.
        #[serde(default)]
        ended: bool,
    },
}

impl Instance {
    /// Since when it is in this state.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        match self {
            Self::Planned { since }
            | Self::Creating { since }
            | Self::Booting { since, .. }
            | Self::Ready { since, .. }
            | Self::Spent { since, .. }
            | Self::Ended { since, .. }
            | Self::Removing { since, .. }
            | Self::Gone { since, .. } => *since,
        }
    }

    /// The same state after the clock was set back to `now`: nothing is known since later.
    #[must_use]
    pub fn not_after(mut self, now: Timestamp) -> Self {
        let (Self::Planned { since }
        | Self::Creating { since }
        | Self::Booting { since, .. }
        | Self::Ready { since, .. }
        | Self::Spent { since, .. }
        | Self::Ended { since, .. }
        | Self::Removing { since, .. }
        | Self::Gone { since, .. }) = &mut self;
        *since = now.min(*since);
        self
    }

    /// The engine's id, where it is known and the instance may still be used.
    #[must_use]
    pub fn id(&self) -> Option<&InstanceId> {
        match self {
            Self::Booting { id, .. } | Self::Ready { id, .. } | Self::Spent { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether its process may still be alive, so that it takes room on its backend.
    #[must_use]
    pub fn may_live(&self) -> bool {
        !matches!(
            self,
            Self::Ended { .. } | Self::Removing { exit: Some(_), .. } | Self::Gone { .. }
        )
    }

    /// Whether the engine may have something of it.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        !matches!(self, Self::Gone { .. })
    }

    /// The word for it, for messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Creating { .. } => "creating",
            Self::Booting { .. } => "booting",
            Self::Ready { .. } => "ready",
            Self::Spent { .. } => "spent",
            Self::Ended { .. } => "ended",
            Self::Removing { .. } => "removing",
            Self::Gone { .. } => "gone",
        }
    }
}

/// How an instance's process ended, as its engine tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, where the engine knows it.
    pub code: Option<i64>,
    /// Whether it was killed for want of memory.
    pub out_of_memory: bool,
    /// The engine's own words, where it has any.
    pub error: Option<String>,
    /// The last lines of its output: at most 20, each cut to 500 characters by the backend.
    pub last_output: Vec<String>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "exit code {code}")?,
            None => f.write_str("exit code unknown")?,
        }
        if self.out_of_memory {
            f.write_str(", killed for want of memory")?;
        }
        if let Some(error) = &self.error {
            write!(f, ", {error}")?;
        }
        if let Some(line) = self.last_output.last() {
            write!(f, ", last output: {line}")?;
        }
        Ok(())
    }
}
