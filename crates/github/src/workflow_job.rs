//! A workflow job in GitHub's public shape, as webhooks and the REST API tell it (protocol.md, 5.3, 5.4). What a job can't be served
//! without must be right; all else is taken where it fits and left out where it does not.

use std::fmt;

use dayfly_core::model::{WorkflowJob, WorkflowJobId, WorkflowJobStatus};
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::scrub::clean;

/// Characters of a name that are kept: with the labels' bounds, evidence of a job stays under 1 KiB but for odd ones.
pub(crate) const TEXT_MAX: usize = 200;

/// Labels of a job that are kept, and how long each may be: GitHub's own bounds.
const LABELS_MAX: usize = 100;
const LABEL_MAX: usize = 256;

#[derive(Deserialize)]
pub(crate) struct JobWire {
    id: i64,
    run_id: i64,
    #[serde(default)]
    run_attempt: Option<u32>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
}

/// The first labels of a list; what follows is read over, so that a list without an end costs no memory.
#[derive(Default)]
struct Labels(Vec<String>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of labels")
            }

            fn visit_unit<E>(self) -> Result<Labels, E> {
                Ok(Labels::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Labels, A::Error> {
                let mut labels = Vec::new();
                while labels.len() < LABELS_MAX {
                    let Some(label) = list.next_element::<String>()? else {
                        return Ok(Labels(labels));
                    };
                    labels.push(clean(&label, LABEL_MAX));
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_any(First)
    }
}

impl JobWire {
    /// The job of a repository, which is so far.
    pub fn into_job(self, repository: &str, status: WorkflowJobStatus) -> WorkflowJob {
        let text = |text: &str| clean(text, TEXT_MAX);
        let filled = |text: String| (!text.is_empty()).then_some(text);
        WorkflowJob {
            id: WorkflowJobId { id: self.id, attempt: self.run_attempt.unwrap_or(1) },
            run_id: self.run_id,
            repository: text(repository),
            name: text(&self.name.unwrap_or_default()),
            status,
            // Of a job that has not ended, GitHub's own examples show a conclusion of before.
            conclusion: self
                .conclusion
                .filter(|_| status == WorkflowJobStatus::Completed)
                .map(|word| text(&word)),
            labels: self.labels.0,
            // A queued job has none; what the payload says there may be of the attempt before.
            runner: self
                .runner_name
                .filter(|_| status >= WorkflowJobStatus::InProgress)
                .and_then(|name| filled(text(&name))),
            created_at: self.created_at.and_then(|time| time.parse::<Timestamp>().ok()),
        }
    }
}

/// How far a job is, by GitHub's own word; `None` for a word that is not known.
pub(crate) fn by_word(word: &str) -> Option<WorkflowJobStatus> {
    match word {
        "waiting" | "pending" | "requested" => Some(WorkflowJobStatus::Waiting),
        "queued" => Some(WorkflowJobStatus::Queued),
        "in_progress" => Some(WorkflowJobStatus::InProgress),
        "completed" => Some(WorkflowJobStatus::Completed),
        _ => None,
    }
}
