//! What a check tells, of stores in order and of damaged ones; and that a damaged one is refused at opening.

use std::{fs, os::unix::fs::FileExt, path::Path};

use dayfly_core::{
    model::ControllerId,
    ports::{StoreError, StoreErrorKind},
};
use dayfly_store::{Checkup, Sqlite, back_up};
use rusqlite::Connection;
use uuid::Uuid;

use crate::rows::{controller, everything, many, runner_name};

/// A page of the databases that SQLite makes by itself.
const PAGE: u64 = 4096;

/// A store with rows in it, its log folded into the file.
fn made(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("dayfly.db");
    Sqlite::open(&path, controller()).unwrap().commit_all(&[everything(), many(200)]);
    let log = Connection::open(&path).unwrap();
    log.pragma_update_and_check(None, "wal_checkpoint", "truncate", |_| Ok(())).unwrap();
    path
}

trait CommitAll {
    fn commit_all(self, batches: &[dayfly_core::ports::Batch]);
}

impl CommitAll for Sqlite {
    fn commit_all(mut self, batches: &[dayfly_core::ports::Batch]) {
        for batch in batches {
            dayfly_core::ports::Store::commit(&mut self, batch).unwrap();
        }
    }
}

#[test]
fn a_store_in_order_has_no_problems() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path());
    let before = fs::read(&path).unwrap();
    let checkup = Checkup::of(&path).unwrap();
    assert_eq!(checkup.problems, Vec::<String>::new());
    assert_eq!((checkup.version, checkup.controller), (Some(3), Some(controller())));
    assert!(checkup.runners > 200 && checkup.jobs > 1 && checkup.pools == 1, "{checkup:?}");
    assert_eq!(fs::read(&path).unwrap(), before, "a check changes nothing");

    // While a daemon has it and has not folded its log in, too.
    let daemon = Sqlite::open(&path, controller()).unwrap();
    assert_eq!(Checkup::of(&path).unwrap(), checkup);
    drop(daemon);
}

/// Damages a store by `sql`, and looks for `says` in a problem.
fn check_rows(sql: &str, says: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path());
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let checkup = Checkup::of(&path).unwrap();
    assert!(
        checkup.problems.iter().any(|problem| problem.contains(says)),
        "{sql}: `{says}` is not in {:?}",
        checkup.problems
    );
}

#[test]
fn what_rows_mean_is_checked() {
    let runner = runner_name(1);
    let one = format!("WHERE name = '{runner}'");
    check_rows(&format!("UPDATE runners SET data = '{{' {one}"), runner.as_str());
    check_rows(&format!("UPDATE runners SET data = X'ff' {one}"), runner.as_str());
    check_rows("UPDATE workflow_jobs SET attempt = 9 WHERE attempt = 2", "contradict");
    check_rows("UPDATE scopes SET data = '{'", "acme");
    check_rows(&format!("UPDATE runners SET generation = 9 {one}"), "contradict");
    check_rows(&format!("UPDATE runners SET pool = 'other' {one}"), "under another pool");
    check_rows("UPDATE pools SET data = '[]'", "table pools");
    check_rows("UPDATE jobs SET id = 'b' WHERE id = 'a'", "table jobs");
    check_rows("UPDATE troubles SET key = 'x' WHERE key LIKE '%credential%'", "table troubles");
    check_rows("DELETE FROM meta WHERE key = 'controller'", "it is missing");
    let other = ControllerId(Uuid::from_u128(1));
    check_rows(
        &format!("UPDATE meta SET value = '{other}' WHERE key = 'controller'"),
        "does not bear this controller's mark",
    );
    check_rows("UPDATE meta SET value = 'noon' WHERE key = 'clock'", "clock");
    check_rows("DROP TABLE jobs", "\"jobs\" is missing");
    check_rows("ALTER TABLE jobs ADD COLUMN more TEXT", "\"jobs\" is not defined as");
    check_rows("CREATE TABLE theirs (x TEXT)", "\"theirs\" is not of dayfly's making");
    // Two rows of one name: only where the index that forbids them is lost.
    check_rows(
        "PRAGMA writable_schema = 1;
         CREATE TABLE copy (name TEXT, pool TEXT, phase TEXT, generation BIGINT, data TEXT);
         INSERT INTO copy SELECT * FROM runners; INSERT INTO copy SELECT * FROM runners LIMIT 1;
         DROP TABLE runners; ALTER TABLE copy RENAME TO runners;",
        "\"runners\" is not defined as",
    );
}

#[test]
fn every_problem_is_told_and_no_more_than_a_hundred() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path());
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE runners SET data = '{'; UPDATE pools SET data = '{'")
        .unwrap();
    let checkup = Checkup::of(&path).unwrap();
    assert_eq!(checkup.problems.len(), 101);
    assert!(checkup.problems[0].contains("table pools"), "{}", checkup.problems[0]);
    assert!(checkup.problems[100].starts_with("and "), "{}", checkup.problems[100]);
    assert!(checkup.runners == 0 && checkup.jobs > 1, "{checkup:?}");
}

/// Harms a copy of a store's file, and looks at what opening, checking and copying it say.
fn check_file(whole: &Path, what: &str, harm: impl FnOnce(&Path), corrupt: bool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("harmed.db");
    fs::copy(whole, &path).unwrap();
    harm(&path);
    let harmed = fs::read(&path).unwrap();
    let copy = directory.path().join("copy.db");
    let opened = || Sqlite::open(&path, controller()).map(|_| ());
    let is_corrupt = |result: Result<(), StoreError>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "{what}: {error}");
        error.to_string()
    };
    if corrupt {
        let checkup = Checkup::of(&path).unwrap();
        assert!(!checkup.problems.is_empty(), "{what}");
        is_corrupt(back_up(&path, &copy).map(|_| ()));
        assert!(!copy.exists(), "{what}: a damaged store leaves no backup");
        let said = is_corrupt(opened());
        for command in ["dayfly store check", "dayfly store backup", "dayfly store rebuild"] {
            assert!(said.contains(command), "{what}: {said}");
        }
        assert_eq!(fs::read(&path).unwrap(), harmed, "{what}: it is left as it is");
    } else {
        assert_eq!(Checkup::of(&path).unwrap().problems, Vec::<String>::new(), "{what}");
        back_up(&path, &copy).unwrap();
        opened().unwrap();
    }
}

/// Writes over a part of a file.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

#[test]
fn a_damaged_file_is_refused_with_what_to_do() {
    let truncate = |path: &Path, to: u64| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(to).unwrap();
    };
    let directory = tempfile::tempdir().unwrap();
    let whole = made(directory.path());
    let check_file =
        |what: &str, harm: &dyn Fn(&Path), corrupt| check_file(&whole, what, harm, corrupt);
    check_file("nothing", &|_| {}, false);
    let pages = fs::metadata(&whole).unwrap().len() / PAGE;
    // Every page but the first is of a table or an index: none may be lost unnoticed.
    for page in 1..pages {
        let name = format!("page {page} of {pages} overwritten");
        check_file(&name, &|path| overwrite(path, page * PAGE, &[0x5a; PAGE as usize]), true);
        let name = format!("the head of page {page} flipped");
        check_file(&name, &|path| flip(path, page * PAGE, 8), true);
    }
    check_file("the schema's page flipped", &|path| flip(path, 100, 8), true);
    check_file("cut at a page", &|path| truncate(path, (pages - 1) * PAGE), true);
    check_file("cut within a page", &|path| truncate(path, 2 * PAGE + 100), true);
    check_file("cut within the header", &|path| truncate(path, 50), true);
    check_file("text", &|path| fs::write(path, "not a database ".repeat(900)).unwrap(), true);
    check_file("zeros", &|path| fs::write(path, [0; 3 * PAGE as usize]).unwrap(), true);
    // What SQLite finds no valid frame in, it takes for no log: what the file itself holds is whole.
    let beside = |path: &Path, end: &str| format!("{}{end}", path.display());
    check_file("an empty log", &|path| fs::write(beside(path, "-wal"), "").unwrap(), false);
    check_file(
        "a log of garbage",
        &|path| fs::write(beside(path, "-wal"), [0xa5; 9 * PAGE as usize]).unwrap(),
        false,
    );
    check_file(
        "an index of the log of garbage",
        &|path| fs::write(beside(path, "-shm"), [0xa5; 8 * PAGE as usize]).unwrap(),
        false,
    );
}

/// Inverts the bits of a few bytes.
fn flip(path: &Path, at: u64, count: usize) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, at).unwrap();
    for byte in &mut bytes {
        *byte = !*byte;
    }
    file.write_all_at(&bytes, at).unwrap();
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let check = |path: &Path, kind: StoreErrorKind, says: &str| {
        let error = Checkup::of(path).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    check(&directory.path().join("none.db"), StoreErrorKind::Io, "none.db");
    check(directory.path(), StoreErrorKind::Io, "not a regular file");
    let empty = directory.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    check(&empty, StoreErrorKind::Io, "it is empty");
    let newer = made(directory.path());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    check(&newer, StoreErrorKind::Newer, "version 99");
}
