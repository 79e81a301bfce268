//! Making an instance and starting its waiter.

use std::{collections::BTreeMap, path::Path, time::Duration};

use dayfly_core::{
    model::{ControllerId, InstanceSpec, LxdKind, RunnerName},
    ports::{BackendError, BackendErrorKind, CreateRequest, Created},
};
use reqwest::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    client::{Body, Client},
    console, destroy,
    error::Failed,
    fence, files,
    guest::{self, BEGIN, KEEP, PROVISION},
    mirror, program,
    records::{ByName, Standing, by_name},
    template::{self, KEY_READY},
    wire::{Instance, NewInstance, Operation, StateChange},
};
use crate::{console::LAST_OUTPUT_LINES, failure::failure, waiter::SCRIPT};

/// How long the server itself may try to start an instance, in seconds.
const START_S: i64 = 60;

/// How many characters of what an instance said become part of a refusal, which holds 2,000.
const SAID_MAX: usize = 1_500;

/// How many running operations of one instance are waited for: there are its create and its start.
const OPERATIONS_MAX: usize = 4;

/// How long an instance may take to end whose keeper refused, and how long it may take to read what it said.
const ENDING_TIME: Duration = Duration::from_secs(10);
const SAID_TIME_MAX: Duration = Duration::from_secs(20);

/// From one look at a create that is under way to the next, where the server does not name its operation.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Makes and starts a runner's instance, or takes the one that an earlier call made.
pub(super) async fn create(
    client: &Client,
    controller: ControllerId,
    request: CreateRequest<'_>,
) -> Result<Created, BackendError> {
    let runner = request.runner;
    let operation = format!("create instance {runner}");
    let mut body =
        template::runner(client.product(), controller, request.pool, runner, request.spec)?;
    let archive = program::archive(request.spec)?;
    let fence = request.spec.lxd.as_ref().and_then(|lxd| lxd.fence.as_ref());
    if let Some(fence) = fence {
        fence::ensure(client, controller, &client.fences, fence).await?;
        let others = fence::others(client, body.profiles.as_deref()).await?;
        template::keep_only_the_first_interface(&mut body, others);
    }
    match make(client, &body).await {
        Ok(()) => {}
        Err(failed) if failed.is_taken() => {
            if let Some(done) = taken(client, controller, runner).await? {
                return Ok(done);
            }
        }
        Err(failed) => {
            if let Some(fence) = fence {
                fence::doubt(&client.fences, controller, fence);
            }
            return Err(failed.changing(operation, &client.address));
        }
    }
    let brought_up = async {
        bring_up(client, runner.as_str(), request.spec, archive).await?;
        // Each takes the server some time.
        let (marked, found) =
            tokio::join!(mark_ready(client, runner.as_str()), by_name(client, controller, runner));
        marked.map(|()| found)
    };
    match brought_up.await {
        Ok(found) => match found? {
            ByName::Ours(found) => Ok(Created { id: found.id, ready: true }),
            ByName::Absent | ByName::Foreign => {
                let detail = "it was made, and is gone";
                Err(failure(BackendErrorKind::Transient, operation, detail))
            }
        },
        Err(mut failed) => {
            // One that does not come up would fare no better at the next start.
            if failed.kind != BackendErrorKind::Unknown
                && let Err(error) = destroy::destroy(client, controller, runner).await
            {
                // It bears our tag: a list shows it, and whoever reads the list removes it.
                tracing::warn!(%runner, %error, "the instance that would not start could not be removed yet");
                // It may run.
                failed.kind = BackendErrorKind::Unknown;
            }
            Err(failed)
        }
    }
}

/// Has the server make an instance.
pub(super) async fn make(client: &Client, body: &NewInstance) -> Result<(), Failed> {
    let target = client.target().map(|target| ("target", target));
    let query: Vec<_> = target.into_iter().collect();
    client.change(Method::POST, "/1.0/instances", &query, Body::json(body)?).await.map(drop)
}

/// What there is under the name already. `None`: it is ours and has to be brought up. The crash that leads there is
/// between the create call and its answer, or before the waiter was ready.
async fn taken(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<Option<Created>, BackendError> {
    let operation = format!("create instance {runner}");
    settle(client, runner.as_str()).await.map_err(|failed| {
        failed.changing(format!("{operation}: wait for the one that is made"), &client.address)
    })?;
    match by_name(client, controller, runner).await? {
        ByName::Ours(found) => Ok(match found.standing() {
            Standing::Running => Some(Created { id: found.id, ready: true }),
            Standing::Ended => Some(Created { id: found.id, ready: false }),
            Standing::Booting => None,
        }),
        ByName::Foreign => {
            let detail = "an instance of this name is not this controller's: rename or remove it";
            Err(failure(BackendErrorKind::NotAllowed, operation, detail))
        }
        ByName::Absent => {
            let detail = "the name was taken, and is free now";
            Err(failure(BackendErrorKind::Transient, operation, detail))
        }
    }
}

/// Waits for what the server is doing to an instance: making or starting it.
pub(super) async fn settle(client: &Client, instance: &str) -> Result<(), Failed> {
    for _ in 0..OPERATIONS_MAX {
        let listed: serde_json::Value =
            client.get("/1.0/operations", &[("recursion", "1")]).await?;
        let running = listed["running"].as_array().into_iter().flatten().find_map(|operation| {
            let operation: Operation = serde_json::from_value(operation.clone()).ok()?;
            let heeded = ["Creating instance", "Starting instance"];
            (operation.is_of(instance) && heeded.contains(&operation.description.as_str()))
                .then_some(operation.id)
        });
        let Some(id) = running else { return Ok(()) };
        match client.wait(&id).await {
            // How it ended is seen from what it left.
            Ok(_) | Err(Failed::Fell(_)) => {}
            Err(failed) => return Err(failed),
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Ok(())
}

/// Starts an instance and its waiter.
pub(super) async fn bring_up(
    client: &Client,
    instance: &str,
    spec: &InstanceSpec,
    archive: Option<&Path>,
) -> Result<(), BackendError> {
    let told = |failed: &Failed, what: &str| {
        failed.changing(format!("{what} {instance}"), &client.address)
    };
    match change_state(client, instance, "start", START_S, false).await {
        Ok(()) => {}
        Err(failed) if failed.is_so_already() => {}
        Err(failed) => return Err(told(&failed, "start instance")),
    }
    let mirror = spec.lxd.as_ref().and_then(|lxd| lxd.dockerhub_mirror.as_deref());
    let is_vm = spec.lxd.as_ref().is_some_and(|lxd| lxd.kind == LxdKind::Vm);
    if is_vm && (archive.is_some() || mirror.is_some()) {
        // Its agent takes files once it has booted, which a command waits for.
        let booted = guest::run(client, instance, &["true"], &BTreeMap::new()).await;
        booted.map_err(|failed| told(&failed, "wait for the agent of instance"))?;
    }
    if let Some(archive) = archive {
        program::put(client, instance, archive).await?;
    }
    if let Some(mirror) = mirror {
        mirror::put(client, instance, mirror).await?;
    }
    let provision = archive.map_or("", |_| PROVISION);
    let user = spec.user.as_deref().unwrap_or_default();
    let setup = spec.lxd.as_ref().and_then(|lxd| lxd.setup.as_deref()).unwrap_or_default();
    let mut script = vec![BEGIN, "dayfly", KEEP, SCRIPT, user, setup, provision];
    script.extend(spec.command.iter().map(String::as_str));
    let (run, ()) = tokio::join!(
        guest::run(client, instance, &script, &spec.environment),
        files::get_ready(client, instance)
    );
    let code = run.map_err(|failed| told(&failed, "start the waiter of instance"))?;
    if code != 0 {
        // What it said is read once it has ended: by itself, where its keeper refuses, which says why on the console.
        if code == guest::REFUSED {
            let _ = timeout(ENDING_TIME, has_ended(client, instance)).await;
        }
        let _ = change_state(client, instance, "stop", -1, true).await;
        let said = said(client, instance, code).await;
        let detail = format!("{} (exit code {code}): {said}", guest::words(code));
        let operation = format!("start the waiter of instance {instance}");
        return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
    }
    Ok(())
}

/// Notes that an instance can take a registration.
async fn mark_ready(client: &Client, instance: &str) -> Result<(), BackendError> {
    let path = format!("/1.0/instances/{instance}");
    let body = Body::json(&json!({ "config": { KEY_READY: "true" } }));
    let marked = match body {
        Ok(body) => client.change(Method::PATCH, &path, &[], body).await,
        Err(failed) => Err(failed),
    };
    let operation = || format!("mark instance {instance}");
    marked.map(drop).map_err(|failed| failed.changing(operation(), &client.address))
}

/// Waits until an instance stands still.
async fn has_ended(client: &Client, instance: &str) {
    let path = format!("/1.0/instances/{instance}");
    while client.get::<Instance>(&path, &[]).await.is_ok_and(|instance| !instance.is_stopped()) {
        sleep(BETWEEN_LOOKS).await;
    }
}

/// The end of what an instance said that did not get ready.
async fn said(client: &Client, instance: &str, code: i64) -> String {
    let mut lines = Vec::new();
    let read = async {
        if code == guest::REFUSED
            && let Ok(Some(ending)) = console::ending(client, instance).await
        {
            lines = ending.last(LAST_OUTPUT_LINES);
            return;
        }
        lines = console::last(client, instance, true, LAST_OUTPUT_LINES).await.unwrap_or_default();
        if code == guest::LATE {
            let unfinished = console::unfinished(client, instance, LAST_OUTPUT_LINES).await;
            lines.extend(unfinished.unwrap_or_default());
        }
    };
    // A help to people: its want holds up nothing.
    let _ = timeout(SAID_TIME_MAX, read).await;
    let said = lines.join("; ");
    // The last of it says what is wrong.
    let spare = said.chars().count().saturating_sub(SAID_MAX);
    said.chars().skip(spare).collect()
}

/// Starts or stops an instance.
pub(super) async fn change_state(
    client: &Client,
    instance: &str,
    action: &'static str,
    timeout: i64,
    force: bool,
) -> Result<(), Failed> {
    let body = Body::json(&StateChange { action, timeout, force })?;
    let path = format!("/1.0/instances/{instance}/state");
    client.change(Method::PUT, &path, &[], body).await.map(drop)
}
