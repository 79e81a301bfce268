//! What the two ends say: a JSON document a line.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{ControllerId, Exit, RunnerName, Sign},
    ports::{BackendErrorKind, InstanceEvent},
};
use serde::{Deserialize, Serialize};

/// A call. No `Debug`: one kind holds a registration.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) controller: ControllerId,
    pub(super) call: Call,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Call {
    Create(RunnerName),
    List,
    /// Whose instances there are.
    Controllers,
    Inspect(RunnerName),
    HandOver {
        runner: RunnerName,
        registration: String,
    },
    Destroy(RunnerName),
    /// From now on events are told, beginning with what there is.
    Watch,
}

/// What the host says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    Answer { id: u64, result: Result<Answer, Refusal> },
    Event(Event),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Done,
    Created { ended: bool },
    Records(Vec<Record>),
    Controllers(BTreeMap<ControllerId, usize>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) runner: RunnerName,
    /// How it ended, if it has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) exit: Option<Exit>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) kind: RefusalKind,
    pub(super) words: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefusalKind {
    NotAllowed,
    Transient,
}

impl From<RefusalKind> for BackendErrorKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::NotAllowed => Self::NotAllowed,
            RefusalKind::Transient => Self::Transient,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    Ready(RunnerName),
    Said(RunnerName, Sign),
    Ended(RunnerName, Exit),
}

impl From<Event> for InstanceEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Ready(runner) => Self::Ready(runner),
            Event::Said(runner, sign) => Self::Said(runner, sign),
            Event::Ended(runner, exit) => Self::Ended(runner, exit),
        }
    }
}

/// A document and its newline.
pub(super) fn line(document: &impl Serialize) -> String {
    // Names, numbers and strings alone: there is nothing that could not be spelled. By way of a value, so that a long registration is
    // written by code that is optimised, which this crate's own is not.
    let mut line = serde_json::to_value(document).unwrap_or_default().to_string();
    line.push('\n');
    line
}
