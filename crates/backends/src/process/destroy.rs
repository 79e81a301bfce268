//! Killing an instance's processes and removing its directory.

use std::time::Duration;

use dayfly_core::{
    model::ControllerId,
    ports::{BackendError, BackendErrorKind},
};
use tokio::{task::spawn_blocking, time::sleep};

use super::{cgroup, directory::Directory, fault, kernel};
use crate::failure::failure;

/// How often the processes are looked for and killed, and how long in between: 10 s in all, which only a process that
/// the kernel can't end outlives.
const ROUNDS_MAX: u32 = 500;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(20);

pub(super) async fn destroy(
    directory: &Directory,
    controller: ControllerId,
) -> Result<(), BackendError> {
    let operation = format!("remove instance {}", directory.runner);
    let keeper = match directory.tag()? {
        Some(tag) if tag.controller != controller => {
            let detail =
                format!("{} is another controller's: it is left alone", directory.path.display());
            return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
        }
        None => return Ok(()),
        // A process of an earlier start of the machine is none of the processes that are there now.
        Some(tag) => directory.start().filter(|_| tag.boot == kernel::boot()),
    };
    let mut left = 0;
    for _ in 0..ROUNDS_MAX {
        // It reads the environment of every process there is.
        let (runner, keeper) = (directory.runner.clone(), keeper.clone());
        let killed = spawn_blocking(move || kernel::kill_all(&runner, keeper.as_ref())).await;
        left = killed.map_err(|error| fault::of_system(&operation, &error.into()))?;
        // A group is removed only once the kernel counts nobody in it any more.
        if left == 0 && cgroup::remove(&directory.runner).is_ok() {
            return remove(directory, &operation).await;
        }
        sleep(BETWEEN_ROUNDS).await;
    }
    let detail = format!(
        "{left} of its processes do not end, though killed; perhaps they wait for a disk or a network"
    );
    Err(failure(BackendErrorKind::Transient, operation, detail))
}

/// Removes the directory; a keeper that begins only now finds nowhere to write, and ends.
async fn remove(directory: &Directory, operation: &str) -> Result<(), BackendError> {
    let gone = directory.clone();
    let removed = spawn_blocking(move || gone.remove()).await;
    removed
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| fault::on_file(operation, &directory.path, &error))
}
