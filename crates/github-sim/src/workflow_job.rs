//! A workflow job in GitHub's public shape, as the REST answers it and webhooks carry it.

use serde::{Deserialize, Serialize};

/// `workflow_job` of a webhook, and the job of the REST. Read leniently: webhooks leave members out that the REST requires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowJob {
    /// Public id of the job.
    pub id: i64,
    /// Its run.
    pub run_id: i64,
    /// API URL of the run.
    pub run_url: String,
    /// Attempt of the run that made this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_attempt: Option<u32>,
    /// GraphQL id.
    pub node_id: String,
    /// Commit.
    pub head_sha: String,
    /// Branch.
    #[serde(default)]
    pub head_branch: Option<String>,
    /// API URL of the job.
    pub url: String,
    /// Page of the job.
    pub html_url: Option<String>,
    /// `queued`, `in_progress`, `completed`, `waiting`, `requested`, `pending`.
    pub status: String,
    /// `success`, `failure`, `cancelled`, …; `None` until completed.
    pub conclusion: Option<String>,
    /// When it was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When a runner took it; until then the time it was queued.
    pub started_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
    /// Display name.
    pub name: String,
    /// Its steps; empty while queued.
    #[serde(default)]
    pub steps: Vec<WorkflowStep>,
    /// API URL of the check run.
    pub check_run_url: String,
    /// `runs-on`.
    pub labels: Vec<String>,
    /// The runner, once one took it.
    #[serde(default)]
    pub runner_id: Option<i64>,
    /// The runner's name.
    #[serde(default)]
    pub runner_name: Option<String>,
    /// The runner's group.
    #[serde(default)]
    pub runner_group_id: Option<i64>,
    /// The group's name.
    #[serde(default)]
    pub runner_group_name: Option<String>,
    /// Name of the workflow.
    #[serde(default)]
    pub workflow_name: Option<String>,
}

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowStep {
    /// What it is called.
    pub name: String,
    /// As a job's.
    pub status: String,
    /// As a job's.
    pub conclusion: Option<String>,
    /// Position, from 1.
    pub number: i64,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Option<String>,
}
