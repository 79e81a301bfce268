//! A consistent copy of a store, also while a daemon writes to it.

use std::path::Path;

use dayfly_core::ports::{StoreError, StoreErrorKind};

use crate::{
    checkup::Checkup,
    error::{Name, corrupt_remedy},
    place, schema,
    sqlite::connect_read_only,
};

/// Copies the store at `from` into a new file at `to` (0600), as it is at one moment. The copy has reached the disk and
/// was checked when this returns, and stands alone: it has no log beside it. Until then there is no file of that name.
///
/// # Errors
/// `Io` where `to` exists, or its directory does not; `Corrupt` where the store is damaged, which is then not copied; and
/// what else keeps the store from being read or the copy from being written.
pub fn back_up(from: &Path, to: &Path) -> Result<Checkup, StoreError> {
    let source = Name::of_file(from);
    let connection = connect_read_only(from, &source)?;
    if schema::version(&connection, &source)? == 0 {
        return Err(source.error("back up", StoreErrorKind::Io, "it is empty"));
    }
    let target = Name::of_file(to);
    let failed = target.io("write", to);
    if to.symlink_metadata().is_ok() {
        let detail = "it exists, and a backup overwrites nothing: name another file";
        return Err(target.error("write", StoreErrorKind::Io, detail));
    }
    // Made 0600, and removed where anything below fails.
    let partial = tempfile::Builder::new()
        .prefix(".dayfly-backup-")
        .tempfile_in(place::directory_of(to))
        .map_err(&failed)?;
    let Some(into) = partial.path().to_str() else {
        let detail = "its directory's name is not UTF-8, which SQLite asks for";
        return Err(target.error("write", StoreErrorKind::Io, detail));
    };
    // One read transaction: a daemon goes on committing meanwhile. A damaged page or index fails here.
    connection.execute("VACUUM INTO ?1", [into]).map_err(source.sql("back up"))?;
    partial.as_file().sync_all().map_err(&failed)?;
    let checkup = Checkup::of(partial.path())?;
    if let Some(problem) = checkup.problems.first() {
        let detail = format!(
            "it is damaged, and a copy would be: {problem}; {}; to keep it as it is, copy the file with its -wal",
            corrupt_remedy()
        );
        return Err(source.error("back up", StoreErrorKind::Corrupt, detail));
    }
    partial.persist_noclobber(to).map_err(|error| failed(error.error))?;
    place::sync_directory(to).map_err(&failed)?;
    Ok(checkup)
}
