//! What a delivery tells (protocol.md, 5.4). What a job can't be served without must be right; all else is taken where it
//! fits and left out where it does not.

use dayfly_core::model::{WorkflowJob, WorkflowJobId, WorkflowJobStatus};
use jiff::Timestamp;
use serde::Deserialize;

use crate::scrub::clean;

/// GitHub's own limit of a payload (protocol.md, 5.4).
pub const PAYLOAD_BYTES_MAX: usize = 25 * 1024 * 1024;

/// Characters of a name that are kept: with the labels' bounds, evidence of a job stays under 1 KiB but for odd ones.
const TEXT_MAX: usize = 200;

/// Labels of a job that are kept, and how long each may be: GitHub's own bounds.
const LABELS_MAX: usize = 100;
const LABEL_MAX: usize = 256;

/// A delivery whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Of a job.
    WorkflowJob(WorkflowJob),
    /// GitHub's test of a new hook.
    Ping,
    /// An event, or an action of it, that means nothing to us: to be answered well, so that GitHub does not take it for
    /// a failure.
    Other,
}

/// A signed payload that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("delivery of `{event}`: {detail}")]
pub struct InvalidDelivery {
    /// `X-GitHub-Event`, cleaned.
    pub event: String,
    /// What is wrong with it.
    pub detail: String,
}

#[derive(Deserialize)]
struct Payload {
    action: String,
    workflow_job: JobWire,
    repository: RepositoryWire,
}

#[derive(Deserialize)]
struct RepositoryWire {
    full_name: String,
}

#[derive(Deserialize)]
struct JobWire {
    id: i64,
    run_id: i64,
    #[serde(default)]
    run_attempt: Option<u32>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    labels: Option<Vec<String>>,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
}

impl Delivery {
    /// Reads a payload by the event's name (`X-GitHub-Event`).
    ///
    /// # Errors
    /// Where a `workflow_job` tells too little to know the job.
    pub fn parse(event: &str, payload: &[u8]) -> Result<Self, InvalidDelivery> {
        let invalid =
            |detail: String| InvalidDelivery { event: clean(event, 40), detail: clean(&detail, TEXT_MAX) };
        match event {
            "ping" => return Ok(Self::Ping),
            "workflow_job" => {}
            _ => return Ok(Self::Other),
        }
        let payload: Payload =
            serde_json::from_slice(payload).map_err(|error| invalid(error.to_string()))?;
        let Some(status) = status(&payload.action, payload.workflow_job.status.as_deref()) else {
            return Ok(Self::Other);
        };
        let wire = payload.workflow_job;
        let text = |text: &str| clean(text, TEXT_MAX);
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self::WorkflowJob(WorkflowJob {
            id: WorkflowJobId { id: wire.id, attempt: wire.run_attempt.unwrap_or(1) },
            run_id: wire.run_id,
            repository: text(&payload.repository.full_name),
            name: text(&wire.name.unwrap_or_default()),
            status,
            // Of a job that has not ended, GitHub's own examples show a conclusion of before.
            conclusion: wire
                .conclusion
                .filter(|_| status == WorkflowJobStatus::Completed)
                .map(|word| text(&word)),
            labels: wire
                .labels
                .unwrap_or_default()
                .iter()
                .take(LABELS_MAX)
                .map(|label| clean(label, LABEL_MAX))
                .collect(),
            // A queued job has none; what the payload says there may be of the attempt before.
            runner: wire
                .runner_name
                .filter(|_| status >= WorkflowJobStatus::InProgress)
                .and_then(|name| filled(text(&name))),
            created_at: wire.created_at.and_then(|time| time.parse::<Timestamp>().ok()),
        }))
    }
}

/// The action says what happened; `queued` may come for a job that still waits for an approval, and its status says so.
fn status(action: &str, status: Option<&str>) -> Option<WorkflowJobStatus> {
    match (action, status) {
        ("waiting", _) | ("queued", Some("waiting" | "pending" | "requested")) => {
            Some(WorkflowJobStatus::Waiting)
        }
        ("queued", _) => Some(WorkflowJobStatus::Queued),
        ("in_progress", _) => Some(WorkflowJobStatus::InProgress),
        ("completed", _) => Some(WorkflowJobStatus::Completed),
        _ => None,
    }
}
