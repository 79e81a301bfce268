//! Delivering a registration to a container's waiter, through the standard input of PID 1.

use std::{pin::pin, time::Duration};

use bollard::{
    Docker as Client,
    container::AttachContainerResults,
    query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptions},
};
use dayfly_core::{
    model::{InstanceId, RunnerName},
    ports::{BackendError, BackendErrorKind, JitConfig},
};
use futures_util::StreamExt;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    error::{chain, refused},
    output::Output,
};
use crate::{
    failure::failure,
    waiter::{RECEIVED, message},
};

/// How long the waiter may take to say that it has the registration: its shell has only to be scheduled.
const RECEIPT_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a container's last words may take once the engine said that it ended.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(1);

const ENDED: &str = "the instance ended, or was not running, when the registration came";

/// Writes the registration and waits until the waiter says that it has it. A failure before the first byte is told
/// from one after it, for then the runner may be on its way.
pub(super) async fn hand_over(
    client: &Client,
    runner: &RunnerName,
    id: &InstanceId,
    jit: &JitConfig,
) -> Result<(), BackendError> {
    let operation = format!("hand over to container {runner}");
    let message = message(&operation, jit)?;
    let options = AttachContainerOptionsBuilder::new()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .build();
    let mut attached = client.attach_container(&id.0, Some(options)).await.map_err(|error| {
        let mut failed = refused(operation.as_str(), &error);
        if failed.kind == BackendErrorKind::Unknown {
            // No byte was written.
            failed.kind = BackendErrorKind::Transient;
        }
        failed
    })?;
    let unknown = |detail: &str| failure(BackendErrorKind::Unknown, operation.as_str(), detail);
    let exchange = async {
        attached.input.write_all(&message).await.map_err(|error| unknown(&chain(&error)))?;
        attached.input.flush().await.map_err(|error| unknown(&chain(&error)))?;
        let mut receipt = pin!(receipt(&mut attached));
        // The engine also attaches to a container that has ended, and then says nothing for ever.
        let said = tokio::select! {
            said = &mut receipt => said,
            _ = client.wait_container(&id.0, None::<WaitContainerOptions>).collect::<Vec<_>>() => {
                timeout(LAST_WORDS_TIME_MAX, receipt).await.unwrap_or(Err(ENDED.to_owned()))
            }
        };
        said.map_err(|said| unknown(&said))
    };
    timeout(RECEIPT_TIME_MAX, exchange)
        .await
        .map_err(|_| unknown("the waiter did not answer in time"))?
}

/// Reads what the container says from now on, up to the receipt.
async fn receipt(attached: &mut AttachContainerResults) -> Result<(), String> {
    let mut lines = Output::default();
    let mut last = String::new();
    while let Some(chunk) = attached.output.next().await {
        let chunk = chunk.map_err(|error| chain(&error))?;
        let mut received = false;
        lines.push(chunk, |line| {
            received |= line == RECEIVED;
            last = line;
        });
        if received {
            return Ok(());
        }
    }
    Err(if last.is_empty() {
        ENDED.to_owned()
    } else {
        format!("the instance ended instead of taking the registration: {last}")
    })
}
