//! The file of a store: its directory and its mode.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use dayfly_core::ports::StoreError;

use crate::error::Name;

/// Makes what is missing of the path, the directories 0700 and the file 0600, and returns its canonical form.
pub(crate) fn prepare(path: &Path, name: &Name) -> Result<PathBuf, StoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(name.io("open", directory))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The entry of the new file is part of the first commit: sync it, as SQLite does for its own files.
        Ok(_) => {
            File::open(directory).and_then(|d| d.sync_all()).map_err(name.io("open", directory))?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(name.io("open", path)(error)),
    }
    existing(path, name)
}

/// The canonical form of the path of a file that must be there.
pub(crate) fn existing(path: &Path, name: &Name) -> Result<PathBuf, StoreError> {
    let failed = name.io("open", path);
    let path = path.canonicalize().map_err(&failed)?;
    if path.metadata().map_err(&failed)?.is_file() {
        Ok(path)
    } else {
        Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")))
    }
}
