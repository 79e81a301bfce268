//! Delivering a registration to an instance's waiter: a file in its `/run`, and a ring.

use std::{collections::BTreeMap, time::Duration};

use dayfly_core::{
    model::{ControllerId, InstanceId, RunnerName},
    ports::{BackendError, BackendErrorKind, InstanceStatus, JitConfig},
};

use super::{
    client::Client,
    files,
    guest::{self, REGISTRATION, RING},
    records::{ByName, Standing, by_name, inspect},
};
use crate::{failure::failure, waiter::message};

/// How long an instance is looked at whose ring failed: it takes the server a moment to note its end.
const ENDS_LOOKS_MAX: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Puts the registration there, rings, and waits until the waiter has taken it. A failure before the ring is told from
/// one after it, for then the runner may be on its way.
pub(super) async fn hand_over(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
    id: &InstanceId,
    jit: &JitConfig,
) -> Result<(), BackendError> {
    let operation = format!("hand over to instance {runner}");
    let message = message(&operation, jit)?;
    let refuse = |kind, detail: &str| Err(failure(kind, operation.as_str(), detail));
    // A file can be put into a stopped instance too, where it would lie for ever.
    match by_name(client, controller, runner).await? {
        ByName::Ours(found) if found.id != *id => {
            return refuse(BackendErrorKind::NotAllowed, "another instance has this name now");
        }
        ByName::Ours(found) if found.standing() == Standing::Running => {}
        ByName::Ours(_) => {
            return refuse(BackendErrorKind::Transient, "the instance is not running");
        }
        ByName::Absent | ByName::Foreign => {
            return refuse(BackendErrorKind::Transient, "there is no such instance");
        }
    }
    let name = runner.as_str();
    // The waiter looks for it by itself for some seconds; after that it is rung for.
    files::put(client, name, REGISTRATION, message.into()).await.map_err(|failed| {
        let mut error = failed.reading(operation.as_str(), &client.address);
        if failed.is_absent() {
            error.kind = BackendErrorKind::Transient;
            error.detail = "the instance has no waiter".to_owned();
        }
        error
    })?;
    let rung = guest::run(client, name, &[RING, "dayfly"], &BTreeMap::new()).await;
    match rung {
        Ok(0) => Ok(()),
        // A ring that is killed with its instance has no code of its own.
        Ok(code) if !guest::has_words(code) && has_run(client, controller, runner).await => Ok(()),
        Ok(code) => {
            // Why is read at the instance's end, by whoever is told of it.
            let detail = format!("{} (exit code {code})", guest::words(code));
            refuse(BackendErrorKind::Unknown, &detail)
        }
        // The waiter may have taken it before the ring, and a short job's instance ended under it.
        Err(_) if has_run(client, controller, runner).await => Ok(()),
        Err(failed) => {
            let mut error = failed.changing(operation.as_str(), &client.address);
            error.kind = BackendErrorKind::Unknown;
            Err(error)
        }
    }
}

/// Whether an instance that ends has run its runner: the keeper wrote its exit code down, and not that nothing came.
async fn has_run(client: &Client, controller: ControllerId, runner: &RunnerName) -> bool {
    for _ in 0..ENDS_LOOKS_MAX {
        match inspect(client, controller, runner).await {
            Ok(Some(record)) => {
                if let InstanceStatus::Ended(exit) = record.status {
                    return exit.code.is_some_and(|code| code != guest::REFUSED);
                }
            }
            Ok(None) | Err(_) => return false,
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    false
}
