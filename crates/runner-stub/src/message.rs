//! What the broker tells a runner, and what a runner tells back. The shapes of job and steps are those of the simulated GitHub.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a runner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Take this job.
    Job {
        /// Names the job in every call about it.
        id: Uuid,
    },
    /// Stop this job.
    Cancel {
        /// The job.
        id: Uuid,
    },
}

/// A job, as the simulated GitHub gives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobBody {
    /// Names the job.
    pub job_id: Uuid,
    /// Display name.
    pub job_display_name: String,
    /// What to run.
    pub steps: Vec<Step>,
    /// Variables of the job's environment.
    pub environment: std::collections::BTreeMap<String, String>,
}

/// A step: one shell line.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// Display name.
    pub name: String,
    /// The shell line.
    pub run: String,
}

/// How a step ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// Display name.
    pub name: String,
    /// `succeeded`, `failed`, `canceled`, `skipped`.
    pub conclusion: &'static str,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
}
