//! A place where a store is to be made of what the world shows, held for one process alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dayfly_core::{
    model::ControllerId,
    ports::{Batch, StoreError, StoreErrorKind},
};
use jiff::Timestamp;
use rusqlite::Connection;

use crate::{error::Name, lock::Lock, place, rows, schema};

/// What SQLite keeps beside a database: it belongs to that one, and must never meet another.
const COMPANIONS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// A place without a store, locked against daemons. Nothing stands there before [`Vacant::fill`].
#[derive(Debug)]
pub struct Vacant {
    path: PathBuf,
    name: Name,
    _lock: Lock,
}

impl Vacant {
    /// Takes the place. What stands there is left alone, unless `aside` gives a time: then it is renamed, with what SQLite
    /// keeps beside it, to a name that tells the time.
    ///
    /// # Errors
    /// `Locked` while a daemon has it; `Io` where something stands there and is not to go aside; `ReadOnly`, `Full`, `Io`.
    pub fn take(path: &Path, aside: Option<Timestamp>) -> Result<Self, StoreError> {
        let name = Name::of_file(path);
        let path = place::prepare(path, &name)?;
        let vacant = Self { _lock: Lock::take(&path, &name)?, path, name };
        vacant.clear(aside)?;
        Ok(vacant)
    }

    /// What stands at `path` and would have to go aside.
    #[must_use]
    pub fn obstacles(path: &Path) -> Vec<PathBuf> {
        let companions = COMPANIONS.iter().map(|end| place::beside(path, end));
        let all = std::iter::once(path.to_owned()).chain(companions);
        all.filter(|path| path.symlink_metadata().is_ok()).collect()
    }

    /// The database goes first: a log without it is told by SQLite to be none, while it without its log would be taken
    /// for a whole one.
    fn clear(&self, aside: Option<Timestamp>) -> Result<(), StoreError> {
        let obstacles = Self::obstacles(&self.path);
        let Some(first) = obstacles.first() else { return Ok(()) };
        let Some(at) = aside else {
            let detail = format!(
                "{} exists, and a rebuilt store overwrites nothing: see whether it is in order with `dayfly store check`; \
                 `--aside` renames it, with its -wal, before the new one is made",
                first.display()
            );
            return Err(self.name.error("make", StoreErrorKind::Io, detail));
        };
        let base = place::beside(&self.path, &at.strftime(".aside-%Y%m%dT%H%M%SZ").to_string());
        for end in std::iter::once("").chain(COMPANIONS) {
            let (from, to) = (place::beside(&self.path, end), place::beside(&base, end));
            if !obstacles.contains(&from) {
                continue;
            }
            let failed = self.name.io("make", &from);
            if to.symlink_metadata().is_ok() {
                return Err(failed(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("{} exists", to.display()),
                )));
            }
            fs::rename(&from, &to).map_err(failed)?;
        }
        place::sync_directory(&self.path).map_err(self.name.io("make", &self.path))
    }

    /// Makes the store (0600) with these rows, whole or not at all; it has reached the disk when this returns.
    ///
    /// # Errors
    /// Where it can't be written, or something stands there by now.
    pub fn fill(self, controller: ControllerId, batch: &Batch) -> Result<(), StoreError> {
        let Self { path, name, _lock } = self;
        let failed = name.io("make", &path);
        let partial = tempfile::Builder::new()
            .prefix(".dayfly-rebuild-")
            .tempfile_in(place::directory_of(&path))
            .map_err(&failed)?;
        let sql = name.sql("make");
        let mut connection = Connection::open(partial.path()).map_err(&sql)?;
        let transaction = connection.transaction().map_err(&sql)?;
        schema::migrate(&transaction, 0).map_err(&sql)?;
        rows::insert_controller(&transaction, controller).map_err(&sql)?;
        rows::write(&transaction, batch, &name)?;
        transaction.commit().map_err(&sql)?;
        connection.close().map_err(|(_, error)| sql(error))?;
        partial.as_file().sync_all().map_err(&failed)?;
        partial.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        place::sync_directory(&path).map_err(&failed)
    }
}
