//! Removing a container with its volumes, and making sure that it is gone.

use std::time::Duration;

use bollard::{Docker as Client, query_parameters::RemoveContainerOptionsBuilder};
use dayfly_core::{
    model::{ControllerId, RunnerName},
    ports::{BackendError, BackendErrorKind},
};
use tokio::time::sleep;

use super::{
    error::{is_status, refused},
    records::{ByName, by_name},
};
use crate::failure::failure;

/// How often a container that the engine is removing already is looked up again, and how long in between: 20 s in
/// all, well within the time that a removal has before it is tried anew.
const LOOKS_MAX: u32 = 80;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Kills and removes a runner's container; returns once the engine knows it no more.
pub(super) async fn destroy(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<(), BackendError> {
    let operation = format!("remove container {runner}");
    let id = match by_name(client, controller, runner).await? {
        ByName::Absent => return Ok(()),
        ByName::Ours { id, .. } => id,
        ByName::Foreign { id } => {
            let detail = format!(
                "container {id} has this name and is not this controller's: it is left alone"
            );
            return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
        }
    };
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let error = match client.remove_container(&id, Some(options)).await {
        Ok(()) => return Ok(()),
        Err(error) if is_status(&error, 404) => return Ok(()),
        Err(error) => error,
    };
    if !is_status(&error, 409) {
        return Err(refused(operation, &error));
    }
    // Another call, perhaps one of ours whose answer was lost, is removing it.
    for _ in 0..LOOKS_MAX {
        match by_name(client, controller, runner).await? {
            ByName::Ours { id: found, .. } if found == id => sleep(BETWEEN_LOOKS).await,
            _ => return Ok(()),
        }
    }
    Err(refused(operation, &error))
}
