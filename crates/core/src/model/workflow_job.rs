//! Workflow jobs, as GitHub's webhooks and its public REST API tell of them: known by a public id and an attempt, where a
//! scale set's messages have ids of their own.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::JobId;

/// Which run of which job: running a job again keeps its workflow run and has a new attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkflowJobId {
    /// The job's public id.
    pub id: i64,
    /// Which attempt of its run, from 1.
    pub attempt: u32,
}

impl WorkflowJobId {
    /// As runners' rows and events name it.
    #[must_use]
    pub fn job_id(self) -> JobId {
        JobId(self.to_string().into())
    }
}

impl fmt::Display for WorkflowJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            0 | 1 => write!(f, "{}", self.id),
            attempt => write!(f, "{}#{attempt}", self.id),
        }
    }
}

/// How far a job is, in GitHub's order: it only moves forward, whatever order its events come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowJobStatus {
    /// It waits for somebody's approval, or for another job: no runner may be made for it yet.
    Waiting,
    /// It waits for a runner.
    Queued,
    /// A runner has it.
    InProgress,
    /// It ended.
    Completed,
}

impl WorkflowJobStatus {
    /// GitHub's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

/// What one event or one listing told of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowJob {
    /// Which.
    #[serde(flatten)]
    pub id: WorkflowJobId,
    /// Its workflow run's public id.
    pub run_id: i64,
    /// `OWNER/REPO`.
    pub repository: String,
    /// Its name in the run.
    pub name: String,
    /// How far it is.
    pub status: WorkflowJobStatus,
    /// GitHub's word, once it ended.
    pub conclusion: Option<String>,
    /// The labels that it asks for.
    pub labels: Vec<String>,
    /// The runner that has or had it, by name.
    pub runner: Option<String>,
    /// When it was queued, by GitHub's clock.
    pub created_at: Option<Timestamp>,
}

/// A job's row: the furthest that GitHub told of it, and since when we know that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedJob {
    /// The job.
    #[serde(flatten)]
    pub job: WorkflowJob,
    /// Since when it is known to be so far, by our clock.
    pub since: Timestamp,
}
