//! The file of a store: its directory and its mode.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use dayfly_core::ports::StoreError;

use crate::error::Name;

/// The directory of a path.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes what is missing of the path's directories, 0700.
fn make_directory(path: &Path, name: &Name) -> Result<(), StoreError> {
    let directory = directory_of(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(name.io("open", directory))
}

/// Brings a new or changed entry of a directory to the disk.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path)).and_then(|directory| directory.sync_all())
}

/// The path with more at its end: `dayfly.db` and `-wal` make `dayfly.db-wal`.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes what is missing of the path's directories, and returns the path of the file, there or not, as every process would have it:
/// its lock lies beside what a link leads to.
pub(crate) fn prepare(path: &Path, name: &Name) -> Result<PathBuf, StoreError> {
    make_directory(path, name)?;
    if path.canonicalize().is_ok() {
        return existing(path, name);
    }
    let failed = name.io("open", path);
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
    let file = path.file_name().ok_or_else(no_file).map_err(&failed)?;
    Ok(directory_of(path).canonicalize().map_err(&failed)?.join(file))
}

/// Makes the file, 0600, where there is none.
pub(crate) fn make_file(path: &Path, name: &Name) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The entry of the new file is part of the first commit: sync it, as SQLite does for its own files.
        Ok(_) => sync_directory(path).map_err(name.io("open", directory_of(path))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(name.io("open", path)(error)),
    }
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
