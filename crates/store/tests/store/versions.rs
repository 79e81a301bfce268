//! Stores of every version there ever was, with rows in them, opened by this one.
//!
//! `tests/versions/N.sql` is a dump of a store of version N that held `everything()` and `every_state()`, pragmas included. `UPDATE=1` writes
//! the latest version's. Once a version is released its dump is never written again: what can't read it needs a new
//! version and a migration.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use dayfly_core::{
    model::{Reason, Runner, Share, TroubleKey},
    ports::{Store, Stored},
};
use dayfly_store::{Checkup, Sqlite, back_up};
use rusqlite::{Connection, types::ValueRef};

use crate::rows::{controller, every_state, everything, full_runner, runner_name, runners};

fn pragma(connection: &Connection, name: &str) -> i64 {
    connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
}

fn dump_of(version: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/versions/{version}.sql"))
}

#[test]
fn every_earlier_version_is_brought_up_to_date() {
    let mut expected = Sqlite::in_memory(controller()).unwrap();
    expected.commit(&everything()).unwrap();
    expected.commit(&every_state()).unwrap();
    let expected = expected.load().unwrap();
    // Stores of version 2 knew neither budgets, for which runners give way, nor the troubles of create calls, those of version 1 no workflow jobs.
    let mut second = expected.clone();
    second.troubles.retain(|(key, _)| !matches!(key, TroubleKey::Creates { .. }));
    second.runners.iter_mut().for_each(|runner| runner.share = Share::default());
    let gave_way = |runner: &Runner| {
        runner.retiring.as_ref().is_some_and(|retiring| retiring.reason == Reason::GaveWay)
    };
    second.runners.retain(|runner| !gave_way(runner));
    let of_version = |version| match version {
        1 => Stored { workflow_jobs: Vec::new(), scopes: Vec::new(), ..second.clone() },
        2 => second.clone(),
        _ => expected.clone(),
    };

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latest.db");
    let mut newest = Sqlite::open(&path, controller()).unwrap();
    newest.commit(&everything()).unwrap();
    newest.commit(&every_state()).unwrap();
    let connection = Connection::open(&path).unwrap();
    let latest = pragma(&connection, "user_version");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(dump_of(latest), dump(&connection)).unwrap();
    }
    for version in 1..=latest {
        let path = directory.path().join(format!("{version}.db"));
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&fs::read_to_string(dump_of(version)).unwrap()).unwrap();
        assert_eq!(pragma(&connection, "user_version"), version);
        drop(connection);

        // A copy can be made before the new version changes it.
        back_up(&path, &directory.path().join(format!("{version}.copy.db"))).unwrap();

        let mut store = Sqlite::open(&path, controller()).unwrap();
        assert_eq!(store.load().unwrap(), of_version(version), "version {version}");
        store.commit(&runners([(runner_name(1), Some(full_runner(1)))])).unwrap();
        drop(store);
        let checkup = Checkup::of(&path).unwrap();
        assert_eq!(checkup.problems, Vec::<String>::new(), "version {version}");
        assert_eq!(checkup.version, Some(latest));
    }
}

/// The whole database as SQL.
fn dump(connection: &Connection) -> String {
    let mut sql = String::new();
    for name in ["application_id", "user_version"] {
        writeln!(sql, "PRAGMA {name} = {};", pragma(connection, name)).unwrap();
    }
    let mut tables =
        connection.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").unwrap();
    let tables = tables
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .unwrap();
    for (table, create) in tables.map(Result::unwrap) {
        writeln!(sql, "{create};").unwrap();
        let mut rows = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> =
                (0..columns).map(|column| literal(row.get_ref(column).unwrap())).collect();
            writeln!(sql, "INSERT INTO {table} VALUES ({});", values.join(", ")).unwrap();
        }
    }
    sql
}

fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        // SQL has no escapes for control characters.
        ValueRef::Text(text) if text.iter().any(u8::is_ascii_control) => {
            let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("CAST(X'{hex}' AS TEXT)")
        }
        ValueRef::Text(text) => format!("'{}'", str::from_utf8(text).unwrap().replace('\'', "''")),
        other => panic!("no column holds {other:?}"),
    }
}
