//! Opening: who may, what the file may be, and what the errors say.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use dayfly_core::{
    model::ControllerId,
    ports::{Store, StoreError, StoreErrorKind},
};
use dayfly_store::Sqlite;
use rusqlite::Connection;
use uuid::Uuid;

use crate::rows::{controller, everything, runner, runner_name, runners};

fn check(result: Result<impl std::fmt::Debug, StoreError>, kind: StoreErrorKind, says: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    for words in says {
        assert!(error.to_string().contains(words), "`{words}` is not in: {error}");
    }
}

#[test]
fn the_controller_is_the_first_openers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    drop(Sqlite::open(&path, controller()).unwrap());
    let mut again = Sqlite::open(&path, ControllerId(Uuid::from_u128(1))).unwrap();
    assert_eq!(again.load().unwrap().controller, controller());
}

#[test]
fn files_are_the_users_alone() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("a/b");
    let path = home.join("dayfly.db");
    let mut store = Sqlite::open(&path, controller()).unwrap();
    store.commit(&everything()).unwrap();
    assert_eq!(home.metadata().unwrap().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(&home).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 4, "database, log, shared memory, lock: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
}

/// What a killed daemon was starting keeps the lock for a moment.
#[test]
fn a_lock_that_is_let_go_of_in_a_moment_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    let first = Sqlite::open(&path, controller()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            drop(first);
        });
        Sqlite::open(&path, controller()).unwrap();
    });
}

#[test]
fn a_second_daemon_is_told_who_has_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut first = Sqlite::open(&path, controller()).unwrap();
    let says = [&*format!("(process {})", std::process::id()), "stop that one", "`store`"];
    check(Sqlite::open(&path, controller()), StoreErrorKind::Locked, &says);
    check(Sqlite::open(&link, controller()), StoreErrorKind::Locked, &says);
    // What the file says of itself is not trusted.
    fs::write(directory.path().join("dayfly.db.lock"), [0xff; 4096]).unwrap();
    check(Sqlite::open(&path, controller()), StoreErrorKind::Locked, &["another dayfly has it"]);
    // A reader is let in, and sees what is committed while it looks.
    let mut reader = Sqlite::open_read_only(&path).unwrap();
    first.commit(&everything()).unwrap();
    assert_eq!(reader.load().unwrap(), first.load().unwrap());
    check(
        reader.commit(&runners([(runner_name(9), Some(runner(9)))])),
        StoreErrorKind::ReadOnly,
        &["commit to"],
    );
    drop(first);
    Sqlite::open(&path, controller()).unwrap();
}

#[test]
fn a_store_of_a_newer_dayfly_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    drop(Sqlite::open(&path, controller()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let says = ["version 99", "run the newer dayfly"];
    check(Sqlite::open(&path, controller()), StoreErrorKind::Newer, &says);
    check(Sqlite::open_read_only(&path), StoreErrorKind::Newer, &says);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    fs::write(&text, "not a database, but longer than a header of a hundred bytes, ".repeat(4))
        .unwrap();
    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x TEXT)").unwrap();
    for path in [&text, &foreign] {
        let before = fs::read(path).unwrap();
        check(Sqlite::open(path, controller()), StoreErrorKind::Corrupt, &[]);
        check(Sqlite::open_read_only(path), StoreErrorKind::Corrupt, &[]);
        assert_eq!(fs::read(path).unwrap(), before);
    }
    check(
        Sqlite::open(directory.path(), controller()),
        StoreErrorKind::Io,
        &["not a regular file"],
    );
    let none = directory.path().join("none.db");
    check(Sqlite::open_read_only(&none), StoreErrorKind::Io, &["none.db"]);
    assert!(!none.exists());
}

/// Damages a store by `sql` and returns what loading says.
fn damaged(path: &Path, sql: &str) -> Result<(), StoreError> {
    let mut store = Sqlite::open(path, controller())?;
    store.commit(&everything())?;
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
    store.load().map(|_| ())
}

#[test]
fn a_damaged_row_is_named() {
    let check = |sql: &str, says: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        check(damaged(&directory.path().join("dayfly.db"), sql), StoreErrorKind::Corrupt, says);
    };
    let runner = runner_name(1);
    let runner = runner.as_str();
    check(
        &format!("UPDATE runners SET data = '{{' WHERE name = '{runner}'"),
        &["table runners", runner],
    );
    check(
        &format!("UPDATE runners SET data = X'ff' WHERE name = '{runner}'"),
        &["table runners", runner],
    );
    check(
        &format!("UPDATE runners SET generation = 7 WHERE name = '{runner}'"),
        &["contradict", runner],
    );
    check(
        &format!("UPDATE runners SET name = 'someone' WHERE name = '{runner}'"),
        &["contradict", "someone"],
    );
    check("UPDATE runners SET generation = 'x'", &["table runners"]);
    check("UPDATE pools SET data = '[]'", &["table pools", "linux-small"]);
    check("UPDATE jobs SET pool = 'No Pool' WHERE id = 'a'", &["table jobs", "\"a\""]);
    check("UPDATE jobs SET id = 'b' WHERE id = 'a'", &["table jobs", "\"b\""]);
    check(
        "UPDATE troubles SET key = 'x' WHERE key LIKE '%credential%'",
        &["table troubles", "\"x\""],
    );
    check("UPDATE meta SET value = 'x' WHERE key = 'controller'", &["table meta", "controller"]);
    check("UPDATE meta SET value = 'x' WHERE key = 'clock'", &["table meta", "clock"]);
    check("DELETE FROM meta WHERE key = 'controller'", &["table meta", "missing"]);
    check(
        "DROP TABLE meta; CREATE TABLE meta (key, value); INSERT INTO meta VALUES ('controller', NULL)",
        &[],
    );
}

#[test]
fn a_file_that_is_overwritten_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    let mut store = Sqlite::open(&path, controller()).unwrap();
    store.commit(&everything()).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let loaded = Sqlite::open(&path, controller()).and_then(|mut store| store.load());
    check(loaded, StoreErrorKind::Corrupt, &["the file is damaged", "dayfly store check"]);
}

#[test]
fn an_empty_file_becomes_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    check(Sqlite::open_read_only(&path), StoreErrorKind::Io, &["version 0"]);
    Sqlite::open(&path, controller()).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640, "what the user made keeps its mode");
}
