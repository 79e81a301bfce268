//! Delivering a registration to an instance's waiter: a file in its `/run`, and a ring.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{ControllerId, InstanceId, RunnerName},
    ports::{BackendError, BackendErrorKind, JitConfig},
};

use super::{
    client::Client,
    files,
    guest::{self, REGISTRATION, RING},
    records::{ByName, Standing, by_name},
};
use crate::{failure::failure, waiter::message};

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
    // Until it is rung for, nobody reads it.
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
        Ok(code) => {
            // Why is read at the instance's end, by whoever is told of it.
            let detail = format!("{} (exit code {code})", guest::words(code));
            refuse(BackendErrorKind::Unknown, &detail)
        }
        Err(failed) => {
            let mut error = failed.changing(operation.as_str(), &client.address);
            error.kind = BackendErrorKind::Unknown;
            Err(error)
        }
    }
}
