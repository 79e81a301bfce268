//! Stores of every version there ever was, with rows in them, opened by this one.
//!
//! `tests/versions/N.sql` is a dump of a store of version N that held `everything()`, pragmas included. It is written
//! when a version is made, by the code of that version, and never again.

use std::{fs, path::Path};

use dayfly_core::ports::Store;
use dayfly_store::Sqlite;
use rusqlite::Connection;

use crate::rows::{controller, everything, full_runner, runner_name, runners};

#[test]
fn every_earlier_version_is_brought_up_to_date() {
    let mut expected = Sqlite::in_memory(controller()).unwrap();
    expected.commit(&everything()).unwrap();
    let expected = expected.load().unwrap();

    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/versions");
    let directory = tempfile::tempdir().unwrap();
    let latest = directory.path().join("latest.db");
    drop(Sqlite::open(&latest, controller()).unwrap());
    let latest: i64 = Connection::open(&latest)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    for version in 1..=latest {
        let dump = fs::read_to_string(versions.join(format!("{version}.sql"))).unwrap();
        let path = directory.path().join(format!("{version}.db"));
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&dump).unwrap();
        let stands: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(stands, version);
        drop(connection);

        let mut store = Sqlite::open(&path, controller()).unwrap();
        assert_eq!(store.load().unwrap(), expected, "version {version}");
        store.commit(&runners([(runner_name(1), Some(full_runner(1)))])).unwrap();
    }
}
