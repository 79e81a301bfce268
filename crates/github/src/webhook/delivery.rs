//! What a delivery tells (protocol.md, 5.4).

use std::borrow::Cow;

use dayfly_core::model::{WorkflowJob, WorkflowJobStatus};
use serde::Deserialize;

use crate::{
    scrub::clean,
    workflow_job::{JobWire, TEXT_MAX, by_word},
};

/// GitHub's own limit of a payload (protocol.md, 5.4).
pub const PAYLOAD_BYTES_MAX: usize = 25 * 1024 * 1024;

/// The content type of a hook that was made without saying `json`.
const FORM: &str = "application/x-www-form-urlencoded";

/// Characters of an event's name that are repeated in an error.
const EVENT_MAX: usize = 40;

/// A delivery whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Of a job.
    WorkflowJob(Box<WorkflowJob>),
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

impl Delivery {
    /// Reads a body by the event's name (`X-GitHub-Event`) and the content type: JSON, or a form whose field `payload` is JSON.
    ///
    /// # Errors
    /// Where a `workflow_job` tells too little to know the job.
    pub fn parse(
        event: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, InvalidDelivery> {
        let invalid = |detail: String| InvalidDelivery {
            event: clean(event, EVENT_MAX),
            detail: clean(&detail, TEXT_MAX),
        };
        match event {
            "ping" => return Ok(Self::Ping),
            "workflow_job" => {}
            _ => return Ok(Self::Other),
        }
        let is_form = content_type.is_some_and(|kind| {
            kind.get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM))
        });
        let json = if is_form {
            let field = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload");
            match field.ok_or_else(|| invalid("the form has no field `payload`".to_owned()))?.1 {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }
        } else {
            Cow::Borrowed(body)
        };
        let payload: Payload =
            serde_json::from_slice(&json).map_err(|error| invalid(without_payload(&error)))?;
        let Some(status) = status(&payload.action, payload.workflow_job.status.as_deref()) else {
            return Ok(Self::Other);
        };
        let job = payload.workflow_job.into_job(&payload.repository.full_name, status);
        Ok(Self::WorkflowJob(Box::new(job)))
    }
}

/// What is wrong with a payload, without any of it: what the library says else may repeat it.
fn without_payload(error: &serde_json::Error) -> String {
    let words = error.to_string();
    if words.starts_with("missing field") {
        return words;
    }
    let (line, column) = (error.line(), error.column());
    format!("it has another form than GitHub's at line {line}, column {column}")
}

/// The action says what happened; `queued` may come for a job that still waits for an approval, and its status says so.
fn status(action: &str, status: Option<&str>) -> Option<WorkflowJobStatus> {
    let happened = by_word(action)?;
    match (action, status.and_then(by_word)) {
        ("queued", Some(WorkflowJobStatus::Waiting)) => Some(WorkflowJobStatus::Waiting),
        ("waiting" | "queued" | "in_progress" | "completed", _) => Some(happened),
        _ => None,
    }
}
