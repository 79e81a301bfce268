//! Making a container and starting its waiter.

use bollard::{
    Docker as Client,
    models::ContainerStateStatusEnum as Status,
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use dayfly_core::{
    model::{ControllerId, InstanceId, RunnerName},
    ports::{BackendError, BackendErrorKind, CreateRequest, Created},
};

use super::{
    error::{is_name_taken, refused},
    records::{ByName, by_name},
    template,
};
use crate::failure::failure;

/// Makes and starts a runner's container, or takes the one that an earlier call made.
pub(super) async fn create(
    client: &Client,
    controller: ControllerId,
    request: CreateRequest<'_>,
) -> Result<Created, BackendError> {
    let runner = request.runner;
    let operation = format!("create container {runner}");
    let body = template::runner(controller, request.pool, runner, request.spec)?;
    let options = CreateContainerOptionsBuilder::new().name(runner.as_str()).build();
    match client.create_container(Some(options), body).await {
        Ok(made) => start(client, runner, made.id).await,
        Err(error) if is_name_taken(&error) => match by_name(client, controller, runner).await? {
            ByName::Ours { id, state, .. } => match state.status {
                // The crash that leads here: between the engine's create and its start.
                Some(Status::CREATED) => start(client, runner, id).await,
                Some(Status::RUNNING | Status::PAUSED) => {
                    Ok(Created { id: InstanceId(id.into()), ready: true })
                }
                _ => Ok(Created { id: InstanceId(id.into()), ready: false }),
            },
            ByName::Foreign { id } => {
                let detail = format!(
                    "container {id} has this name and is not this controller's: rename or remove it"
                );
                Err(failure(BackendErrorKind::NotAllowed, operation, detail))
            }
            ByName::Absent => Err(refused(operation, &error)),
        },
        Err(error) => Err(refused(operation, &error)),
    }
}

/// Starts a container; one that the engine refuses to start is removed, since no later start would fare better.
async fn start(client: &Client, runner: &RunnerName, id: String) -> Result<Created, BackendError> {
    let Err(error) = client.start_container(&id, None::<StartContainerOptions>).await else {
        // PID 1 is the waiter and reads what was written before it looked.
        return Ok(Created { id: InstanceId(id.into()), ready: true });
    };
    let failed = refused(format!("start container {runner}"), &error);
    if failed.kind != BackendErrorKind::Unknown {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        if let Err(error) = client.remove_container(&id, Some(options)).await {
            // It bears our tag: a list shows it, and whoever reads the list removes it.
            tracing::warn!(%runner, %error, "the container that would not start could not be removed yet");
        }
    }
    Err(failed)
}
