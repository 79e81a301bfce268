//! What an error of the system means to the planner.

use std::{io, path::Path};

use dayfly_core::ports::{BackendError, BackendErrorKind};
use rustix::io::Errno;

use crate::failure::failure;

/// A failed step on a file, which the words name.
pub(super) fn on_file(operation: &str, path: &Path, error: &io::Error) -> BackendError {
    failure(kind(error), operation, format!("{}: {error}", path.display()))
}

/// A failed step of the system.
pub(super) fn of_system(operation: &str, error: &io::Error) -> BackendError {
    failure(kind(error), operation, error.to_string())
}

fn kind(error: &io::Error) -> BackendErrorKind {
    match Errno::from_io_error(error) {
        Some(Errno::DQUOT) => BackendErrorKind::Quota,
        Some(Errno::NOSPC | Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE) => {
            BackendErrorKind::NoCapacity
        }
        Some(
            Errno::ACCESS
            | Errno::PERM
            | Errno::ROFS
            | Errno::NAMETOOLONG
            | Errno::NOENT
            | Errno::NOTDIR,
        ) => BackendErrorKind::NotAllowed,
        _ => BackendErrorKind::Transient,
    }
}
