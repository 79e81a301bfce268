//! Delivering a registration to an instance's waiter, through its fifo.

use std::time::Duration;

use dayfly_core::{
    model::ControllerId,
    ports::{BackendError, BackendErrorKind, InstanceStatus, JitConfig},
};
use rustix::io::Errno;
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::{OpenOptions, Sender},
    time::{sleep, timeout},
};

use super::{directory::Directory, fault, tail};
use crate::{failure::failure, waiter::message};

/// How long the waiter may take to open its end, and then to say that it has the registration.
const TIME_MAX: Duration = Duration::from_secs(15);

/// How long to wait between two looks. Nothing tells when a fifo's other end is opened.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

pub(super) async fn hand_over(
    directory: &Directory,
    controller: ControllerId,
    jit: &JitConfig,
) -> Result<(), BackendError> {
    let operation = format!("hand over to instance {}", directory.runner);
    let message = message(&operation, jit)?;
    // Nothing was written before the fifo is open.
    let mut sender =
        timeout(TIME_MAX, open(directory, controller, &operation)).await.unwrap_or_else(|_| {
            Err(failure(
                BackendErrorKind::Transient,
                operation.as_str(),
                "the waiter did not open its end in time",
            ))
        })?;
    let unknown = |detail: String| failure(BackendErrorKind::Unknown, operation.as_str(), detail);
    let exchange = async {
        sender.write_all(&message).await.map_err(|error| unknown(error.to_string()))?;
        // The end of the input tells the waiter that a message is cut short, where it is.
        drop(sender);
        while !has_received(directory) {
            if !is_running(directory, controller)? {
                // It may have said so with its last breath.
                return if has_received(directory) {
                    Ok(())
                } else {
                    Err(unknown(last_words(directory)))
                };
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    };
    timeout(TIME_MAX, exchange)
        .await
        .unwrap_or_else(|_| Err(unknown("the waiter did not answer in time".to_owned())))
}

/// Opens the fifo once the waiter has opened its end; never waits in the kernel, where a dead reader would hold us.
async fn open(
    directory: &Directory,
    controller: ControllerId,
    operation: &str,
) -> Result<Sender, BackendError> {
    loop {
        if !is_running(directory, controller)? {
            return Err(failure(BackendErrorKind::Transient, operation, last_words(directory)));
        }
        if has_received(directory) {
            let detail = "the instance has taken a registration already";
            return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
        }
        match OpenOptions::new().open_sender(directory.input()) {
            Ok(sender) => return Ok(sender),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                sleep(BETWEEN_LOOKS).await;
            }
            Err(error) => return Err(fault::on_file(operation, &directory.input(), &error)),
        }
    }
}

fn is_running(directory: &Directory, controller: ControllerId) -> Result<bool, BackendError> {
    let status = directory.record(controller)?.map(|record| record.status);
    Ok(matches!(status, Some(InstanceStatus::Running)))
}

/// Whether the waiter has its registration. It says so before the runner begins.
fn has_received(directory: &Directory) -> bool {
    directory.received().exists()
}

fn last_words(directory: &Directory) -> String {
    let said = tail::last(&directory.console(), 1).pop().unwrap_or_default();
    format!("the instance is not running: {said}")
}
