//! Backups, and stores that are made anew.

use std::{fs, os::unix::fs::MetadataExt, path::Path, thread};

use dayfly_core::ports::{Batch, Store, StoreError, StoreErrorKind};
use dayfly_store::{Checkup, Sqlite, Vacant, back_up};

use crate::rows::{at, controller, everything, many, runner, runner_name, runners};

fn check(result: Result<impl std::fmt::Debug, StoreError>, kind: StoreErrorKind, says: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(says), "`{says}` is not in: {error}");
}

/// What stands in a directory, but for what SQLite and the lock keep beside a store.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| {
        !name.ends_with("-wal") && !name.ends_with("-shm") && !name.ends_with(".lock")
    });
    names.sort();
    names
}

#[test]
fn a_backup_is_the_store_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("dayfly.db"), directory.path().join("copy.db"));
    let mut daemon = Sqlite::open(&path, controller()).unwrap();
    daemon.commit(&everything()).unwrap();
    let stored = daemon.load().unwrap();
    let checkup = back_up(&path, &copy).unwrap();
    assert_eq!(checkup, Checkup::of(&path).unwrap());
    assert_eq!(copy.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(names(directory.path()), ["copy.db", "dayfly.db"], "nothing half made stays");
    // It stands alone, and a daemon takes it as it is.
    let elsewhere = directory.path().join("elsewhere.db");
    fs::copy(&copy, &elsewhere).unwrap();
    assert_eq!(Sqlite::open(&elsewhere, controller()).unwrap().load().unwrap(), stored);

    check(back_up(&path, &copy), StoreErrorKind::Io, "overwrites nothing");
    let nowhere = directory.path().join("nowhere/copy.db");
    check(back_up(&path, &nowhere), StoreErrorKind::Io, "nowhere");
    check(back_up(&directory.path().join("none.db"), &nowhere), StoreErrorKind::Io, "none.db");
    assert_eq!(Sqlite::open_read_only(&copy).unwrap().load().unwrap(), stored);
}

#[test]
fn backups_beside_a_writing_daemon_hold_whole_commits() {
    /// Rows in each commit.
    const ROWS: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    let mut daemon = Sqlite::open(&path, controller()).unwrap();
    let writer = thread::spawn(move || {
        for commit in 0..60 {
            let rows = (commit * ROWS..(commit + 1) * ROWS)
                .map(|number| (runner_name(number), Some(runner(number))));
            daemon.commit(&runners(rows)).unwrap();
        }
    });
    let mut before = 0;
    for number in 0.. {
        let done = writer.is_finished();
        let copy = directory.path().join(format!("{number}.db"));
        back_up(&path, &copy).unwrap();
        let rows = Sqlite::open_read_only(&copy).unwrap().load().unwrap().runners.len();
        assert_eq!(rows as u64 % ROWS, 0, "a commit is copied in part");
        assert!(rows >= before, "a later copy knows less");
        before = rows;
        if done {
            break;
        }
    }
    writer.join().unwrap();
    assert_eq!(before as u64, 60 * ROWS);
}

#[test]
fn a_store_is_made_whole_where_none_stands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/dayfly.db");
    let vacant = Vacant::take(&path, None).unwrap();
    assert!(!path.exists(), "nothing stands there before it is whole");
    check(Vacant::take(&path, None), StoreErrorKind::Locked, "another dayfly");
    // A daemon that is started meanwhile waits for its turn, and leaves nothing in the way.
    check(Sqlite::open(&path, controller()), StoreErrorKind::Locked, "another dayfly");
    assert!(!path.exists(), "nothing stands there before it is whole");
    vacant.fill(controller(), &everything()).unwrap();
    assert_eq!(names(path.parent().unwrap()), ["dayfly.db"]);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(Checkup::of(&path).unwrap().problems, Vec::<String>::new());
    let mut expected = Sqlite::in_memory(controller()).unwrap();
    expected.commit(&everything()).unwrap();
    let mut store = Sqlite::open(&path, controller()).unwrap();
    assert_eq!(store.load().unwrap(), expected.load().unwrap());
    // A daemon has it: neither is it gone aside under its feet.
    check(Vacant::take(&path, Some(at(0))), StoreErrorKind::Locked, "another dayfly");
}

#[test]
fn what_stands_there_goes_aside_only_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    // A daemon that was killed: its newest commits are in the log alone.
    let mut killed = Sqlite::open(&path, controller()).unwrap();
    killed.commit(&everything()).unwrap();
    let stored = killed.load().unwrap();
    for end in ["", "-wal"] {
        let from = format!("{}{end}", path.display());
        fs::copy(&from, format!("{from}.kept")).unwrap();
    }
    drop(killed);
    for end in ["", "-wal"] {
        let to = format!("{}{end}", path.display());
        fs::rename(format!("{to}.kept"), &to).unwrap();
    }
    check(Vacant::take(&path, None), StoreErrorKind::Io, "`--aside`");
    assert_eq!(names(directory.path()), ["dayfly.db"]);

    let vacant = Vacant::take(&path, Some(at(0))).unwrap();
    vacant.fill(controller(), &many(3)).unwrap();
    assert_eq!(names(directory.path()), ["dayfly.db", "dayfly.db.aside-20260921T141320Z"]);
    assert_eq!(Sqlite::open(&path, controller()).unwrap().load().unwrap().runners.len(), 3);
    // What went aside is whole, with what only its log held.
    let aside = directory.path().join("dayfly.db.aside-20260921T141320Z");
    assert_eq!(Sqlite::open(&aside, controller()).unwrap().load().unwrap(), stored);
    // A second one in the same second overwrites nothing.
    check(Vacant::take(&path, Some(at(0))), StoreErrorKind::Io, "exists");
}

#[test]
fn a_log_without_its_store_is_never_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    fs::write(directory.path().join("dayfly.db-wal"), "somebody's").unwrap();
    check(Vacant::take(&path, None), StoreErrorKind::Io, "dayfly.db-wal exists");
    Vacant::take(&path, Some(at(0))).unwrap().fill(controller(), &Batch::default()).unwrap();
    assert!(!directory.path().join("dayfly.db-wal").exists());
}
