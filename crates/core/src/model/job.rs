//! Jobs, as a scale set's messages tell of them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobId, MessageId, RunnerName};

/// What an entry of a scale set's message says of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobEntryKind {
    /// The job can be acquired (acquire mode).
    Available,
    /// The job was given to the scale set.
    Assigned,
    /// A runner took it.
    Started {
        /// The runner's name as GitHub tells it.
        runner: String,
    },
    /// It ended.
    Completed {
        /// GitHub's word: succeeded, failed, canceled, ….
        result: String,
        /// The runner's name; empty where no runner ever took it.
        runner: String,
    },
}

/// One entry of a scale set's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEntry {
    /// What it says.
    #[serde(flatten)]
    pub kind: JobEntryKind,
    /// Which job.
    pub id: JobId,
    /// The id by which a job is acquired; 0 where GitHub assigns by itself.
    pub request_id: i64,
    /// `OWNER/REPO`.
    pub repository: String,
    /// The job's name in the workflow run.
    pub display_name: String,
    /// The run's public id.
    pub run_id: i64,
    /// The labels that the job asks for.
    pub labels: Vec<String>,
    /// When it was queued, by GitHub's clock.
    pub queued_at: Option<Timestamp>,
}

/// How far a job is. For each id the state moves forward only, but for GitHub's own second assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// It can be acquired.
    Available {
        /// Since when.
        since: Timestamp,
    },
    /// It is given to the pool and waits for a runner.
    Assigned {
        /// Since when, by our clock.
        since: Timestamp,
    },
    /// A runner runs it.
    Started {
        /// Since when, by our clock.
        since: Timestamp,
        /// The runner, as GitHub names it.
        runner: Arc<str>,
    },
    /// It ended.
    Completed {
        /// Since when, by our clock.
        since: Timestamp,
        /// GitHub's word.
        result: Arc<str>,
        /// The runner, where it had one.
        runner: Option<Arc<str>>,
    },
}

impl JobState {
    /// The same state after the clock was set back to `now`: nothing is known since later.
    #[must_use]
    pub fn not_after(mut self, now: Timestamp) -> Self {
        let (Self::Available { since }
        | Self::Assigned { since }
        | Self::Started { since, .. }
        | Self::Completed { since, .. }) = &mut self;
        *since = now.min(*since);
        self
    }
}

/// A job given, or offered, to a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// The id by which it is acquired; 0 where GitHub assigns by itself.
    pub request_id: i64,
    /// `OWNER/REPO`.
    pub repository: Arc<str>,
    /// The job's name in the workflow run.
    pub display_name: Arc<str>,
    /// The run's public id.
    pub run_id: i64,
    /// The labels that it asks for.
    pub labels: Vec<String>,
    /// When it was queued, by GitHub's clock.
    pub queued_at: Option<Timestamp>,
    /// How far it is.
    pub state: JobState,
    /// How often it was assigned to the pool: GitHub gives up after three (F15).
    pub assignments: u32,
    /// The newest message that told of it: older ones add nothing (F16).
    pub message: MessageId,
}

impl Job {
    /// Whether it is given to the pool and not complete.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, JobState::Assigned { .. } | JobState::Started { .. })
    }

    /// The runner that has or had it, where it is one of ours by form.
    #[must_use]
    pub fn runner(&self) -> Option<RunnerName> {
        match &self.state {
            JobState::Started { runner, .. } | JobState::Completed { runner: Some(runner), .. } => {
                RunnerName::new(runner).ok()
            }
            _ => None,
        }
    }

    /// Since when it is in its state, by our clock.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        match &self.state {
            JobState::Available { since }
            | JobState::Assigned { since }
            | JobState::Started { since, .. }
            | JobState::Completed { since, .. } => *since,
        }
    }
}
