//! The store itself: opening, loading, committing, counting.

use std::path::Path;

use dayfly_core::{
    model::ControllerId,
    ports::{Batch, Store, StoreError, StoreErrorKind, Stored},
};
use rusqlite::{Connection, OpenFlags};

use crate::{
    error::{Name, corrupt_remedy},
    lock::Lock,
    place, rows, schema,
};

/// More prepared statements than this crate has.
const STATEMENTS_MAX: usize = 32;

/// What is left to do in a store: all 0 when nothing is left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Rows of runners; a gone runner has none.
    pub runners_not_gone: u64,
    /// Pools with a session or a deletion open at GitHub.
    pub open_duties: u64,
}

/// A store on SQLite.
#[derive(Debug)]
pub struct Sqlite {
    // Dropped in this order: the lock outlives the connection.
    connection: Connection,
    name: Name,
    _lock: Option<Lock>,
}

impl Sqlite {
    /// Opens the store at `path` for this process alone; makes it (0600, its directory 0700) where there is none, with
    /// `new_controller` as its id, and brings an older one up to date.
    ///
    /// # Errors
    /// `Locked` while another daemon has it, `Newer`, `Corrupt` where the file is no store or damaged, `ReadOnly`,
    /// `Full`, `Io`. Each says what to do.
    pub fn open(path: &Path, new_controller: ControllerId) -> Result<Self, StoreError> {
        let name = Name::of_file(path);
        let path = place::prepare(path, &name)?;
        // Before the file is made: another process may be about to make it, whole or not at all.
        let lock = Lock::take(&path, &name)?;
        place::make_file(&path, &name)?;
        // Without OpenFlags::SQLITE_OPEN_URI: a path is a path, whatever it begins with.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(name.sql("open"))?;
        let version = schema::version(&connection, &name)?;
        whole(&connection, &name)?;
        synced_once_per_commit(&connection, &name)?;
        Self { connection, name, _lock: Some(lock) }.brought_up_to_date(version, new_controller)
    }

    /// A store in memory: the same code and tables, without a file.
    ///
    /// # Errors
    /// Where SQLite has no memory.
    pub fn in_memory(controller: ControllerId) -> Result<Self, StoreError> {
        let name = Name::in_memory();
        let connection = Connection::open_in_memory().map_err(name.sql("open"))?;
        Self { connection, name, _lock: None }.brought_up_to_date(0, controller)
    }

    /// Opens an existing store to read it, also while a daemon has it. A commit fails with `ReadOnly`.
    ///
    /// # Errors
    /// As [`Sqlite::open`], but never `Locked`; an older store, which only a daemon brings up to date, is `Io`.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let name = Name::of_file(path);
        let connection = connect_read_only(path, &name)?;
        let version = schema::version(&connection, &name)?;
        if version < schema::latest() {
            let detail =
                format!("its tables are of version {version}; `dayfly run` brings them up to date");
            return Err(name.error("open", StoreErrorKind::Io, detail));
        }
        Ok(Self { connection, name, _lock: None })
    }

    fn brought_up_to_date(
        mut self,
        version: i64,
        new_controller: ControllerId,
    ) -> Result<Self, StoreError> {
        if version < schema::latest() {
            self.migrate(version, new_controller).map_err(self.name.sql("open"))?;
        }
        self.connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(self)
    }

    fn migrate(&mut self, version: i64, new_controller: ControllerId) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        schema::migrate(&transaction, version)?;
        if version == 0 {
            rows::insert_controller(&transaction, new_controller)?;
        }
        transaction.commit()
    }

    /// Runs a statement of a commit, which is prepared once: rusqlite's own transactions prepare theirs each time.
    fn run(&self, sql: &str) -> Result<(), StoreError> {
        let ran = self.connection.prepare_cached(sql).and_then(|mut prepared| prepared.execute([]));
        ran.map(|_| ()).map_err(self.name.sql("commit to"))
    }

    /// What is left to do.
    ///
    /// # Errors
    /// Where the file can't be read, or holds what this version does not understand.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let runners: i64 = self
            .connection
            .query_row("SELECT count(*) FROM runners", [], |row| row.get(0))
            .map_err(self.name.sql("load"))?;
        let pools = rows::all(&self.name, |take| rows::pools(&self.connection, &self.name, take))?;
        Ok(Counts {
            runners_not_gone: runners.unsigned_abs(),
            open_duties: pools.iter().filter(|pool| pool.has_duty()).map(|_| 1).sum(),
        })
    }
}

impl Store for Sqlite {
    fn load(&mut self) -> Result<Stored, StoreError> {
        // One transaction, so that all is of one moment.
        let transaction = self.connection.transaction().map_err(self.name.sql("load"))?;
        rows::load(&transaction, &self.name)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() && batch.clock.is_none() {
            return Ok(());
        }
        // Immediate: another writer is met here, before anything is written.
        self.run("BEGIN IMMEDIATE")?;
        let written =
            rows::write(&self.connection, batch, &self.name).and_then(|()| self.run("COMMIT"));
        // Some errors (a full disk) have rolled back already. One of the rollback itself would hide what went wrong.
        if written.is_err() && !self.connection.is_autocommit() {
            let _ = self.run("ROLLBACK");
        }
        written
    }
}

/// Opens a file that must be there, to read it.
pub(crate) fn connect_read_only(path: &Path, name: &Name) -> Result<Connection, StoreError> {
    let path = place::existing(path, name)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(&path, flags).map_err(name.sql("open"))
}

/// SQLite's own check of the file, at most `max` complaints; none where it is in order.
pub(crate) fn complaints(connection: &Connection, max: u32) -> rusqlite::Result<Vec<String>> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({max})"))?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = lines.collect::<rusqlite::Result<_>>()?;
    // An answer may be of several lines and hold the file's own words: cut, as everything that comes from outside.
    let cut = |line: String| {
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
    };
    Ok(lines.into_iter().filter(|line| line != "ok").map(cut).collect())
}

/// A damaged file is refused before anything is decided by it, and before anything is written to it. Loading alone reads
/// no index whole. Seen to take 0.3 s for 10,000 runners and 50,000 jobs (41 MB).
fn whole(connection: &Connection, name: &Name) -> Result<(), StoreError> {
    match complaints(connection, 1).map_err(name.sql("open"))?.first() {
        None => Ok(()),
        Some(complaint) => {
            let detail = format!("the file is damaged: {complaint}; {}", corrupt_remedy());
            Err(name.error("open", StoreErrorKind::Corrupt, detail))
        }
    }
}

/// Write-ahead log with `synchronous=FULL`: what a commit appends to the log is synced once, and nothing else is.
///
/// Seen with `strace -f -y -e trace=fsync,fdatasync` on 314 commits of 20 rows: between two commits one `fsync` of
/// `dayfly.db-wal`, and at every 1,000th page of the log (six times) a checkpoint: one more of the log and one of
/// `dayfly.db`. A rollback journal takes four at each commit: the journal twice, its directory and the database.
fn synced_once_per_commit(connection: &Connection, name: &Name) -> Result<(), StoreError> {
    let failed = name.sql("open");
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(&failed)?;
    if mode != "wal" {
        return Err(name.error(
            "open",
            StoreErrorKind::Io,
            "its file system cannot share memory between processes (a network file system?); \
             name a file on a local disk in `store`",
        ));
    }
    connection.pragma_update(None, "synchronous", "full").map_err(&failed)
}

#[cfg(test)]
mod tests {
    use dayfly_core::model::{BackendName, PoolName, Runner, RunnerName, Suffix};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn runners(numbers: std::ops::Range<u64>, controller: ControllerId) -> Batch {
        let pool = PoolName::new("linux-small").unwrap();
        let rows = numbers.map(|number| {
            let name = RunnerName::compose(&pool, controller, Suffix::from_bits(number));
            let backend = BackendName::new("here").unwrap();
            let mut runner =
                Runner::planned(name.clone(), backend, "mark".into(), Timestamp::UNIX_EPOCH);
            runner.generation = 1;
            (name, Some(runner))
        });
        Batch { runners: rows.collect(), ..Batch::default() }
    }

    #[test]
    fn no_more_room_stores_nothing_and_heals() {
        let directory = tempfile::tempdir().unwrap();
        let controller = ControllerId(Uuid::from_u128(1));
        let mut store = Sqlite::open(&directory.path().join("dayfly.db"), controller).unwrap();
        store.commit(&runners(0..10, controller)).unwrap();
        let before = store.load().unwrap();
        let pages = |store: &Sqlite, pages: i64| {
            store
                .connection
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
                .unwrap();
        };
        pages(&store, 16);
        let error = store.commit(&runners(10..1_000, controller)).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
        assert!(error.detail.contains("free space"), "{error}");
        assert_eq!(store.load().unwrap(), before);
        pages(&store, 1 << 20);
        store.commit(&runners(10..1_000, controller)).unwrap();
        assert_eq!(store.load().unwrap().runners.len(), 1_000);
    }
}
