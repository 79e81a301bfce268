//! What the engine tells of our containers.

use std::collections::HashMap;

use bollard::{
    Docker as Client,
    models::{ContainerState, ContainerStateStatusEnum, ContainerSummaryStateEnum as State},
    query_parameters::ListContainersOptionsBuilder,
};
use dayfly_core::{
    model::{ControllerId, Exit, InstanceId, RunnerName},
    ports::{BackendError, InstanceRecord, InstanceStatus},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    error::{is_status, unread},
    output,
    template::{LABEL_CONTROLLER, LABEL_RUNNER},
};
use crate::console::LAST_OUTPUT_LINES;

/// How many ended containers are asked after at once: enough to hide the engine's answer times, few enough to leave
/// it free for creates.
const QUESTIONS_MAX: usize = 8;

/// A container of this controller, as a list shows it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) runner: RunnerName,
    pub(super) id: String,
    pub(super) state: Option<State>,
    pub(super) created_at: Option<Timestamp>,
}

impl Found {
    /// Whether its process was never started, and so has no output yet.
    pub(super) fn is_yet_to_start(&self) -> bool {
        self.state == Some(State::CREATED)
    }

    /// Whether its process has ended, and may have left output.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, Some(State::EXITED | State::DEAD | State::REMOVING))
    }
}

/// The label by which the engine is asked for our containers alone.
pub(super) fn label(controller: ControllerId) -> String {
    format!("{LABEL_CONTROLLER}={controller}")
}

/// Which containers a list is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of ours.
    All,
    /// Those whose process has ended.
    Ended,
}

/// Our containers. One whose name is no runner's is shown in the log and left alone.
pub(super) async fn find(
    client: &Client,
    controller: ControllerId,
    which: Which,
) -> Result<Vec<Found>, BackendError> {
    let mut filters = HashMap::from([("label", vec![label(controller)])]);
    if which == Which::Ended {
        filters.insert("status", vec!["exited".to_owned()]);
    }
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let containers = client
        .list_containers(Some(options))
        .await
        .map_err(|error| unread("list containers", &error))?;
    let found = containers.into_iter().filter_map(|container| {
        let id = container.id?;
        let labels = container.labels.unwrap_or_default();
        let name = container.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
        let runner = runner_of(&name, &labels, controller, &id)?;
        let created_at = container.created.and_then(|seconds| Timestamp::from_second(seconds).ok());
        Some(Found { runner, id, state: container.state, created_at })
    });
    Ok(found.collect())
}

/// The runner of a container that bears our tag, if its name is one.
fn runner_of(
    name: &str,
    labels: &HashMap<String, String>,
    controller: ControllerId,
    id: &str,
) -> Option<RunnerName> {
    if labels.get(LABEL_CONTROLLER) != Some(&controller.to_string()) {
        return None;
    }
    let name = name.trim_start_matches('/');
    match RunnerName::new(name) {
        Ok(runner) if labels.get(LABEL_RUNNER).map(String::as_str) == Some(name) => Some(runner),
        _ => {
            tracing::warn!(
                container = id,
                name,
                "a container with this controller's tag has no runner's name: left"
            );
            None
        }
    }
}

/// Every instance of this controller.
pub(super) async fn list(
    client: &Client,
    controller: ControllerId,
) -> Result<Vec<InstanceRecord>, BackendError> {
    let found = find(client, controller, Which::All).await?;
    let asked = stream::iter(found).map(|found| async move {
        let status = match found.state {
            Some(State::CREATED | State::EMPTY) | None => InstanceStatus::Booting,
            // It may be gone by now, and then it is no instance any more.
            Some(_) if found.has_ended() => match exit(client, &found.id).await? {
                Some(exit) => InstanceStatus::Ended(exit),
                None => return Ok(None),
            },
            Some(_) => InstanceStatus::Running,
        };
        let id = InstanceId(found.id.into());
        Ok(Some(InstanceRecord { runner: found.runner, id, status, created_at: found.created_at }))
    });
    asked.buffered(QUESTIONS_MAX).try_filter_map(|record| async { Ok(record) }).try_collect().await
}

/// A container by name.
pub(super) enum ByName {
    /// There is none.
    Absent,
    /// There is one, without our tag.
    Foreign { id: String },
    /// Ours.
    Ours { id: String, state: Box<ContainerState>, created_at: Option<Timestamp> },
}

/// Looks a container up by its runner's name.
pub(super) async fn by_name(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<ByName, BackendError> {
    let container = match client.inspect_container(runner.as_str(), None).await {
        Ok(container) => container,
        Err(error) if is_status(&error, 404) => return Ok(ByName::Absent),
        Err(error) => return Err(unread(format!("inspect container {runner}"), &error)),
    };
    let id = container.id.unwrap_or_default();
    let name = container.name.unwrap_or_default();
    let labels = container.config.and_then(|config| config.labels).unwrap_or_default();
    // The engine also takes a beginning of an id for a name.
    if name.trim_start_matches('/') != runner.as_str() {
        return Ok(ByName::Absent);
    }
    if runner_of(&name, &labels, controller, &id).is_none() {
        return Ok(ByName::Foreign { id });
    }
    // In whole seconds, as the list tells it.
    let created_at = container.created.and_then(|text| text.parse::<Timestamp>().ok());
    let created_at = created_at.and_then(|at| Timestamp::from_second(at.as_second()).ok());
    Ok(ByName::Ours { id, state: Box::new(container.state.unwrap_or_default()), created_at })
}

/// One instance by name.
pub(super) async fn inspect(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<Option<InstanceRecord>, BackendError> {
    let ByName::Ours { id, state, created_at } = by_name(client, controller, runner).await? else {
        return Ok(None);
    };
    let status = match state.status {
        Some(ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::EMPTY) | None => {
            InstanceStatus::Booting
        }
        Some(
            ContainerStateStatusEnum::EXITED
            | ContainerStateStatusEnum::DEAD
            | ContainerStateStatusEnum::REMOVING,
        ) => InstanceStatus::Ended(exit_of(client, &id, &state).await),
        Some(_) => InstanceStatus::Running,
    };
    Ok(Some(InstanceRecord {
        runner: runner.clone(),
        id: InstanceId(id.into()),
        status,
        created_at,
    }))
}

/// How a container ended; `None` where it is gone.
pub(super) async fn exit(client: &Client, id: &str) -> Result<Option<Exit>, BackendError> {
    match client.inspect_container(id, None).await {
        Ok(container) => Ok(Some(exit_of(client, id, &container.state.unwrap_or_default()).await)),
        Err(error) if is_status(&error, 404) => Ok(None),
        Err(error) => Err(unread(format!("inspect container {id}"), &error)),
    }
}

async fn exit_of(client: &Client, id: &str, state: &ContainerState) -> Exit {
    Exit {
        code: state.exit_code,
        out_of_memory: state.oom_killed.unwrap_or(false),
        error: state
            .error
            .clone()
            .filter(|error| !error.is_empty())
            .map(|error| error.chars().take(2_000).collect()),
        // The output is a help to people: its want is no reason to withhold the rest.
        last_output: output::last(client, id, LAST_OUTPUT_LINES).await.unwrap_or_default(),
    }
}
