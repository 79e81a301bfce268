//! How much an engine has.

use bollard::Docker as Client;
use dayfly_core::{
    model::Capacity,
    ports::{BackendError, BackendErrorKind},
};

use super::error::unread;
use crate::failure::failure;

const OPERATION: &str = "ask the engine how much it has";

/// The processors and the memory of the engine's machine.
pub(super) async fn capacity(client: &Client) -> Result<Capacity, BackendError> {
    let told = client.info().await.map_err(|error| unread(OPERATION, &error))?;
    let count = |count: Option<i64>| {
        count.and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0)
    };
    let (Some(cpus), Some(memory_bytes)) = (count(told.ncpu), count(told.mem_total)) else {
        let detail = "it tells neither processors nor memory: write the budget as numbers";
        return Err(failure(BackendErrorKind::NotAllowed, OPERATION, detail));
    };
    Ok(Capacity { cpu_millis: cpus.saturating_mul(1_000), memory_bytes })
}
