//! Stopping and deleting an instance, and making sure that it is gone.

use std::time::Duration;

use dayfly_core::{
    model::{ControllerId, RunnerName},
    ports::{BackendError, BackendErrorKind},
};
use reqwest::Method;
use tokio::time::sleep;

use super::{
    client::{Body, Client},
    create::{change_state, settle},
    error::Failed,
    records::{ByName, by_name},
};
use crate::failure::failure;

/// How often an instance that the server is busy with is tried again, and how long in between: 20 s in all, well within
/// the time that a removal has before it is tried anew.
const TRIES_MAX: u32 = 80;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// Without end: it is killed.
const NO_PATIENCE_S: i64 = -1;

/// Kills and deletes a runner's instance; returns once the server knows it no more.
pub(super) async fn destroy(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<(), BackendError> {
    let operation = format!("delete instance {runner}");
    let told = |failed: &Failed| failed.changing(operation.as_str(), &client.address);
    let mut last = None;
    for _ in 0..TRIES_MAX {
        let found = match by_name(client, controller, runner).await? {
            ByName::Absent => return Ok(()),
            ByName::Ours(found) => found,
            ByName::Foreign => {
                let detail = "an instance of this name is not this controller's: it is left alone";
                return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
            }
        };
        match remove(client, runner.as_str(), found.instance.is_stopped()).await {
            Ok(()) => {}
            Err(failed @ (Failed::Unsent(_) | Failed::Lost(_))) => return Err(told(&failed)),
            Err(failed) if failed.is_absent() => {}
            // Another call, perhaps one of ours whose answer was lost, is at it; or it stopped by itself meanwhile.
            Err(failed) => {
                last = Some(failed);
                sleep(BETWEEN_TRIES).await;
            }
        }
    }
    Err(last.map_or_else(
        || failure(BackendErrorKind::Transient, operation.as_str(), "it is still there"),
        |failed| told(&failed),
    ))
}

async fn remove(client: &Client, instance: &str, is_stopped: bool) -> Result<(), Failed> {
    if is_stopped {
        // One that is being made is stopped too, and can't be deleted.
        settle(client, instance).await?;
    } else {
        match change_state(client, instance, "stop", NO_PATIENCE_S, true).await {
            Ok(()) => {}
            Err(failed) if failed.is_so_already() => {}
            Err(failed) => return Err(failed),
        }
    }
    let path = format!("/1.0/instances/{instance}");
    client.change(Method::DELETE, &path, &[], Body::Nothing).await.map(drop)
}
