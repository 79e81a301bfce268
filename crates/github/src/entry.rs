//! One entry of a scale set's message (protocol.md, 3.5). What a job can't be served without must be right; all else is
//! taken where it fits and left out where it does not.

use std::borrow::Cow;

use dayfly_core::model::{JobEntry, JobEntryKind, JobId};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::scrub::clean;

/// Job ids are UUIDs, earlier numbers. A longer one is not cut: it would be another job's.
const ID_MAX: usize = 128;

/// How long texts may be: GitHub's own are shorter.
const TEXT_MAX: usize = 300;

/// How many labels of a job are kept, and how long each may be: GitHub allows 100 of 256.
const LABELS_MAX: usize = 100;
const LABEL_MAX: usize = 256;

/// The fields as they came, each read by itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct EntryWire<'a> {
    #[serde(borrow)]
    message_type: Field<'a>,
    #[serde(borrow)]
    job_id: Field<'a>,
    #[serde(borrow)]
    runner_request_id: Field<'a>,
    #[serde(borrow)]
    repository_name: Field<'a>,
    #[serde(borrow)]
    owner_name: Field<'a>,
    #[serde(borrow)]
    job_display_name: Field<'a>,
    #[serde(borrow)]
    workflow_run_id: Field<'a>,
    #[serde(borrow)]
    request_labels: Field<'a>,
    #[serde(borrow)]
    queue_time: Field<'a>,
    #[serde(borrow)]
    runner_name: Field<'a>,
    #[serde(borrow)]
    result: Field<'a>,
}

type Field<'a> = Option<&'a RawValue>;

/// Reads one entry; `None` for a type that is not known, which is to be ignored.
pub(crate) fn parse(json: &str) -> Result<Option<JobEntry>, String> {
    let wire: EntryWire<'_> =
        serde_json::from_str(json).map_err(|cause| format!("no entry: {cause}"))?;
    let kind = string(wire.message_type).ok_or("it has no type in words")?;
    let request_id = read(wire.runner_request_id).unwrap_or(0);
    let runner = text(wire.runner_name);
    let kind = match &*kind {
        "JobAvailable" if request_id <= 0 => {
            return Err("a job on offer without the id to acquire it by".to_owned());
        }
        "JobAvailable" => JobEntryKind::Available,
        "JobAssigned" => JobEntryKind::Assigned,
        "JobStarted" => JobEntryKind::Started { runner },
        "JobCompleted" => JobEntryKind::Completed { result: text(wire.result), runner },
        _ => return Ok(None),
    };
    Ok(Some(JobEntry {
        kind,
        id: job_id(wire.job_id)?,
        request_id,
        repository: repository(&text(wire.owner_name), &text(wire.repository_name)),
        display_name: text(wire.job_display_name),
        run_id: read(wire.workflow_run_id).unwrap_or(0),
        labels: read::<Vec<String>>(wire.request_labels)
            .unwrap_or_default()
            .iter()
            .take(LABELS_MAX)
            .map(|label| clean(label, LABEL_MAX))
            .collect(),
        queued_at: string(wire.queue_time)
            .and_then(|time| time.parse().ok())
            .filter(|time| *time > Timestamp::UNIX_EPOCH),
    }))
}

fn job_id(field: Field<'_>) -> Result<JobId, String> {
    let number = || read::<i64>(field).map(|number| number.to_string().into());
    let id = string(field).or_else(number);
    let id = id.filter(|id| !id.is_empty()).ok_or("it has no job id")?;
    if id.len() > ID_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its job id is too long or has odd characters".to_owned());
    }
    Ok(JobId((&*id).into()))
}

fn repository(owner: &str, name: &str) -> String {
    if owner.is_empty() || name.contains('/') { name.to_owned() } else { format!("{owner}/{name}") }
}

fn text(field: Field<'_>) -> String {
    clean(&string(field).unwrap_or_default(), TEXT_MAX)
}

/// A field in words. Most have no escapes, and are taken as they stand.
fn string(field: Field<'_>) -> Option<Cow<'_, str>> {
    let raw = field?.get();
    match raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

fn read<T: DeserializeOwned>(field: Field<'_>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}
