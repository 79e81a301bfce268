//! Workflow jobs, as GitHub's webhooks and its public REST API tell of them: known by a public id and an attempt, where a
//! scale set's messages have ids of their own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which run of which job: running a job again keeps its workflow run and has a new attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkflowJobId {
    /// The job's public id.
    pub id: i64,
    /// Which attempt of its run, from 1.
    pub attempt: u32,
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
