//! Runner groups and runner scale sets (protocol.md, 2).

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::{
    model::{RunnerGroupId, ScaleSetId, Statistics},
    ports::{ForgeError, ForgeErrorKind, ScaleSetRecord},
};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::{
    client::Shared,
    operation::Operation,
    refusal::{Surface, error, unreadable},
    scrub::clean,
    service::{Call, read},
    wire::Manner,
};

/// The group that every scope has, under the same id everywhere (protocol.md, 2.1).
const DEFAULT_GROUP: (&str, RunnerGroupId) = ("default", RunnerGroupId(1));

/// The longest name and the most labels that are believed of an answer.
const NAME_MAX: usize = 256;
const LABELS_MAX: usize = 200;

/// A list as the service wraps it.
#[derive(Deserialize)]
pub(crate) struct Listed<T> {
    pub value: Vec<T>,
}

#[derive(Deserialize)]
struct GroupWire {
    id: i64,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct LabelWire<'a> {
    #[serde(rename = "type", default)]
    kind: std::borrow::Cow<'a, str>,
    name: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewScaleSet<'a> {
    name: &'a str,
    runner_group_id: i64,
    labels: Vec<LabelWire<'a>>,
    // The key's capital is the service's own (protocol.md, 2.2).
    #[serde(rename = "RunnerSetting")]
    setting: Setting,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Setting {
    /// A runner that updates itself ends its only run (F13).
    disable_update: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleSetWire {
    id: i64,
    name: String,
    #[serde(default)]
    runner_group_id: i64,
    #[serde(default)]
    labels: Vec<LabelWire<'static>>,
    #[serde(default)]
    statistics: Option<StatisticsWire>,
}

/// The counts as they come (protocol.md, 2.4); odd numbers count as none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StatisticsWire {
    total_available_jobs: i64,
    total_acquired_jobs: i64,
    total_assigned_jobs: i64,
    total_running_jobs: i64,
    total_registered_runners: i64,
    total_busy_runners: i64,
    total_idle_runners: i64,
}

impl From<StatisticsWire> for Statistics {
    fn from(wire: StatisticsWire) -> Self {
        let count = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        Self {
            available: count(wire.total_available_jobs),
            acquired: count(wire.total_acquired_jobs),
            assigned: count(wire.total_assigned_jobs),
            running: count(wire.total_running_jobs),
            registered: count(wire.total_registered_runners),
            busy: count(wire.total_busy_runners),
            idle: count(wire.total_idle_runners),
        }
    }
}

impl From<ScaleSetWire> for ScaleSetRecord {
    fn from(wire: ScaleSetWire) -> Self {
        Self {
            id: ScaleSetId(wire.id),
            name: clean(&wire.name, NAME_MAX),
            group: RunnerGroupId(wire.runner_group_id),
            labels: wire
                .labels
                .iter()
                .take(LABELS_MAX)
                .map(|label| clean(&label.name, NAME_MAX))
                .collect(),
            statistics: wire.statistics.map(Statistics::from),
        }
    }
}

const SETS: [&str; 3] = ["_apis", "runtime", "runnerscalesets"];

impl Shared {
    pub async fn find_group(self: &Arc<Self>, name: &str) -> Result<RunnerGroupId, ForgeError> {
        if name.eq_ignore_ascii_case(DEFAULT_GROUP.0) {
            return Ok(DEFAULT_GROUP.1);
        }
        let operation = Operation::FindGroup(name);
        // The empty segment is the slash that this route ends in.
        let call = Call {
            query: &[("groupName", name)],
            ..Call::new(Method::GET, &["_apis", "runtime", "runnergroups", ""])
        };
        let response = self.service(&operation, &call).await?;
        let groups: Listed<GroupWire> = read(&operation, &response, "no list of runner groups")?;
        let mut matching =
            groups.value.iter().filter(|group| group.name.eq_ignore_ascii_case(name));
        match (matching.next(), matching.next()) {
            (Some(group), None) => Ok(RunnerGroupId(group.id)),
            (Some(_), Some(_)) => {
                Err(unreadable(&operation, Surface::Service, "two groups have that name"))
            }
            (None, _) => {
                let scope = &self.scope;
                let detail = format!(
                    "{scope} has no runner group of that name; make it in the settings under Actions, Runner groups, or \
                     use `Default` (a repository has no other)"
                );
                Err(error(&operation, ForgeErrorKind::NotFound, &detail))
            }
        }
    }

    pub async fn find_scale_set(
        self: &Arc<Self>,
        group: RunnerGroupId,
        name: &str,
    ) -> Result<Option<ScaleSetRecord>, ForgeError> {
        let operation = Operation::FindScaleSet(name);
        let group_text = group.to_string();
        let query = [("runnerGroupId", group_text.as_str()), ("name", name)];
        let call = Call { query: &query, ..Call::new(Method::GET, &SETS) };
        let response = self.service(&operation, &call).await?;
        let sets: Listed<ScaleSetWire> = read(&operation, &response, "no list of scale sets")?;
        let of_group =
            |set: &ScaleSetWire| set.runner_group_id == 0 || set.runner_group_id == group.0;
        let mut matching = sets
            .value
            .into_iter()
            .filter(|set| set.name.eq_ignore_ascii_case(name) && of_group(set));
        match (matching.next(), matching.next()) {
            (None, _) => Ok(None),
            (Some(set), None) => Ok(Some(ScaleSetRecord { group, ..set.into() })),
            (Some(_), Some(_)) => {
                Err(unreadable(&operation, Surface::Service, "two scale sets have that name"))
            }
        }
    }

    pub async fn create_scale_set(
        self: &Arc<Self>,
        group: RunnerGroupId,
        name: &str,
        labels: &[String],
    ) -> Result<ScaleSetRecord, ForgeError> {
        let operation = Operation::CreateScaleSet(name);
        let body = self.scale_set_body(&operation, group, name, labels)?;
        // A create whose answer was lost is found by name in a later pass.
        let call = Call { body, manner: Manner::Once, ..Call::new(Method::POST, &SETS) };
        let response = self.service(&operation, &call).await?;
        self.scale_set_record(&operation, &response, group)
    }

    pub async fn update_scale_set(
        self: &Arc<Self>,
        id: ScaleSetId,
        group: RunnerGroupId,
        name: &str,
        labels: &[String],
    ) -> Result<ScaleSetRecord, ForgeError> {
        let operation = Operation::UpdateScaleSet(name, id);
        let body = self.scale_set_body(&operation, group, name, labels)?;
        let id_text = id.to_string();
        let path = [SETS[0], SETS[1], SETS[2], &id_text];
        let call = Call { body, ..Call::on_set(Method::PATCH, &path, id) };
        let response = self.service(&operation, &call).await?;
        self.scale_set_record(&operation, &response, group)
    }

    pub async fn delete_scale_set(self: &Arc<Self>, id: ScaleSetId) -> Result<(), ForgeError> {
        let operation = Operation::DeleteScaleSet(id);
        let id_text = id.to_string();
        let path = [SETS[0], SETS[1], SETS[2], &id_text];
        match self.service(&operation, &Call::on_set(Method::DELETE, &path, id)).await {
            Ok(_) => {}
            Err(refusal) if refusal.kind == ForgeErrorKind::ScaleSetGone => {}
            Err(refusal) => return Err(refusal),
        }
        self.forget_queue(id);
        Ok(())
    }

    fn scale_set_body(
        &self,
        operation: &Operation<'_>,
        group: RunnerGroupId,
        name: &str,
        labels: &[String],
    ) -> Result<Bytes, ForgeError> {
        let label =
            |label: &'_ String| LabelWire { kind: "System".into(), name: label.clone().into() };
        let body = NewScaleSet {
            name,
            runner_group_id: group.0,
            labels: labels.iter().map(label).collect(),
            setting: Setting { disable_update: true },
        };
        json(operation, &body)
    }

    fn scale_set_record(
        &self,
        operation: &Operation<'_>,
        response: &http::Response<Bytes>,
        group: RunnerGroupId,
    ) -> Result<ScaleSetRecord, ForgeError> {
        let mut set: ScaleSetWire = read(operation, response, "no scale set")?;
        if set.runner_group_id == 0 {
            set.runner_group_id = group.0;
        }
        Ok(set.into())
    }
}

/// A request's body.
pub(crate) fn json(operation: &Operation<'_>, body: &impl Serialize) -> Result<Bytes, ForgeError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|cause| {
        error(operation, ForgeErrorKind::Refused, &format!("the request can't be written: {cause}"))
    })
}
