//! What a failure of SQLite or of the file system means, and what to do about it.

use std::{io, path::Path};

use dayfly_core::ports::{StoreError, StoreErrorKind};
use rusqlite::ErrorCode;

/// Which store, for the operation that an error names.
#[derive(Debug, Clone)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn of_file(path: &Path) -> Self {
        Self(path.display().to_string())
    }

    pub(crate) fn in_memory() -> Self {
        Self("in memory".to_owned())
    }

    /// An error of our own finding.
    pub(crate) fn error(
        &self,
        doing: &str,
        kind: StoreErrorKind,
        detail: impl Into<String>,
    ) -> StoreError {
        StoreError {
            kind,
            operation: format!("{doing} the store {}", self.0),
            detail: detail.into(),
        }
    }

    /// An error of SQLite.
    pub(crate) fn sql(&self, doing: &str) -> impl Fn(rusqlite::Error) -> StoreError {
        move |error| {
            let kind = kind_of(&error);
            self.error(doing, kind, format!("{error}; {}", remedy(kind)))
        }
    }

    /// An error of the file system, on the path that `what` names.
    pub(crate) fn io(&self, doing: &str, what: &Path) -> impl Fn(io::Error) -> StoreError {
        move |error| {
            let kind = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    StoreErrorKind::ReadOnly
                }
                _ => StoreErrorKind::Io,
            };
            self.error(doing, kind, format!("{}: {error}; {}", what.display(), remedy(kind)))
        }
    }
}

fn kind_of(error: &rusqlite::Error) -> StoreErrorKind {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
            // A full disk shows in the shared memory file, which is mapped, as an error of input and output.
            (ErrorCode::DiskFull, _) | (_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                StoreErrorKind::Full
            }
            (ErrorCode::ReadOnly | ErrorCode::PermissionDenied, _) => StoreErrorKind::ReadOnly,
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreErrorKind::Locked,
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Io,
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Io,
    }
}

/// What to do about an error of this kind.
fn remedy(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Full => "free space on its file system; what was committed before is safe",
        StoreErrorKind::ReadOnly => {
            "let the user that runs dayfly write the file and its directory, or name another place in `store`"
        }
        StoreErrorKind::Locked => "another program has the file open for writing: close it",
        StoreErrorKind::Newer => "run the newer dayfly, or name another file in `store`",
        StoreErrorKind::Generation => {
            "make sure that one daemon alone uses the store, and report this as a bug"
        }
        StoreErrorKind::Corrupt => {
            "see what is wrong with `dayfly store check`; then put a backup (`dayfly store backup`) in its place, or make a \
             new store of what engines and GitHub show: `dayfly store rebuild --aside`"
        }
        StoreErrorKind::Io => "see that its file system is healthy, local and writable",
    }
}

/// [`remedy`] for what damages a row or the whole file.
pub(crate) fn corrupt_remedy() -> &'static str {
    remedy(StoreErrorKind::Corrupt)
}
