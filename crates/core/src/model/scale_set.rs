//! What is remembered of a pool's scale set, its session and its messages.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobEntry, MessageId, PoolName, RunnerGroupId, ScaleSetId, ScopeName, SessionId};

/// GitHub's counts for a scale set (`reference/protocol.md`, 2.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Jobs that match and wait, not given to this set.
    pub available: u32,
    /// Given to the set, not yet taken by a runner.
    pub acquired: u32,
    /// Acquired and running: the scaling input.
    pub assigned: u32,
    /// Running.
    pub running: u32,
    /// Runners registered.
    pub registered: u32,
    /// Runners with a job.
    pub busy: u32,
    /// Runners without.
    pub idle: u32,
}

/// A message of a scale set's queue, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The counts that it carries.
    pub statistics: Option<Statistics>,
    /// Its readable entries, in order.
    pub entries: Vec<JobEntry>,
    /// What could not be read, in words: reported, never a reason to keep the message (F19).
    pub unreadable: Vec<String>,
}

/// The state of a pool's scale set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ScaleSetTrack {
    /// Not known to exist.
    #[default]
    Unknown,
    /// The runner group is known and no set of that name was there: we are making it, so what appears is ours.
    Creating {
        /// Since when.
        since: Timestamp,
        /// In which group.
        group: RunnerGroupId,
    },
    /// It exists and is ours.
    Present {
        /// GitHub's id.
        id: ScaleSetId,
        /// Its group.
        group: RunnerGroupId,
        /// The group's name in the configuration when it was looked up, where a set was made or moved since that is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_name: Option<String>,
        /// Its scope when it was made.
        scope: ScopeName,
        /// Its name when it was made.
        name: String,
        /// Its labels as GitHub has them.
        labels: Vec<String>,
        /// Whether the store made it, rather than adopted it.
        made: bool,
    },
    /// It is being deleted.
    Deleting {
        /// Since when.
        since: Timestamp,
        /// GitHub's id.
        id: ScaleSetId,
        /// Its scope.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<ScopeName>,
    },
}

impl ScaleSetTrack {
    /// GitHub's id, where the set exists.
    #[must_use]
    pub fn id(&self) -> Option<ScaleSetId> {
        match self {
            Self::Present { id, .. } | Self::Deleting { id, .. } => Some(*id),
            Self::Unknown | Self::Creating { .. } => None,
        }
    }
}

/// The state of a pool's message session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SessionTrack {
    /// None that we know of.
    #[default]
    None,
    /// Stored, and not yet confirmed in this life of the daemon: a refresh takes it up again.
    Stored {
        /// GitHub's id.
        id: SessionId,
    },
    /// It stands.
    Open {
        /// GitHub's id.
        id: SessionId,
        /// Since when.
        since: Timestamp,
    },
    /// It is being deleted.
    Closing {
        /// GitHub's id.
        id: SessionId,
        /// Since when.
        since: Timestamp,
    },
}

impl SessionTrack {
    /// GitHub's id, where one is known.
    #[must_use]
    pub fn id(&self) -> Option<&SessionId> {
        match self {
            Self::None => None,
            Self::Stored { id } | Self::Open { id, .. } | Self::Closing { id, .. } => Some(id),
        }
    }
}

/// A pool's row: what outlives the daemon beside its runners and jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Which pool.
    pub name: PoolName,
    /// Grows by one with every commit of the row.
    pub generation: u64,
    /// Its scale set.
    pub scale_set: ScaleSetTrack,
    /// Its session.
    pub session: SessionTrack,
    /// The newest message seen in this session; a new session begins at 0.
    pub cursor: MessageId,
    /// The newest message ever seen: what is not newer is a replay, whose counts are old (F16).
    pub newest: MessageId,
    /// Messages stored and not yet deleted at GitHub.
    pub unacknowledged: BTreeSet<MessageId>,
    /// The newest counts, and when they came.
    pub statistics: Option<(Statistics, Timestamp)>,
    /// Drained by a user, since when.
    pub drained: Option<Timestamp>,
    /// Being deleted by a user, since when.
    pub deleting: Option<Timestamp>,
    /// The scope in which its runners register by themselves; `None` where they register in its scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers_in: Option<ScopeName>,
}

impl PoolState {
    /// A pool of which nothing is known.
    #[must_use]
    pub fn new(name: PoolName) -> Self {
        Self {
            name,
            generation: 0,
            scale_set: ScaleSetTrack::Unknown,
            session: SessionTrack::None,
            cursor: MessageId(0),
            newest: MessageId(0),
            unacknowledged: BTreeSet::new(),
            statistics: None,
            drained: None,
            deleting: None,
            registers_in: None,
        }
    }

    /// Whether a duty towards GitHub is open: a session or a deletion.
    #[must_use]
    pub fn has_duty(&self) -> bool {
        self.session != SessionTrack::None
            || matches!(self.scale_set, ScaleSetTrack::Deleting { .. })
    }
}
