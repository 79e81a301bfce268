//! A daemon killed at any moment: what it was told is stored is stored.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use dayfly_core::ports::Store;
use dayfly_store::Sqlite;

use crate::rows::{controller, runner, runner_name, runners};

/// Tells the test's own executable, started again, that it is the daemon, and where its store is.
const DAEMON: &str = "DAYFLY_TEST_STORE";
/// Rows in each commit.
const ROWS: u64 = 20;
/// How often a daemon is killed.
const LIVES: u64 = 12;

#[test]
fn every_commit_that_returned_survives_a_kill() {
    if let Some(path) = std::env::var_os(DAEMON) {
        commit_for_ever(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    for life in 0..LIVES {
        let before = whole_commits(&path);
        let returned = run_and_kill(&path, before, 1 + life * 7);
        // The last commit may have been stored and its word lost.
        let after = whole_commits(&path);
        assert!(
            after == returned || after == returned + 1,
            "{returned} commits returned, {after} are stored"
        );
    }
}

/// How many commits the store holds, each whole.
fn whole_commits(path: &Path) -> u64 {
    let rows =
        u64::try_from(Sqlite::open(path, controller()).unwrap().load().unwrap().runners.len())
            .unwrap();
    assert_eq!(rows % ROWS, 0, "a commit is stored in part");
    rows / ROWS
}

/// Runs a daemon, kills it after it told of `count` commits, and returns the number of the last one it told of.
fn run_and_kill(path: &Path, before: u64, count: u64) -> u64 {
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::every_commit_that_returned_survives_a_kill", "--nocapture"])
        .env(DAEMON, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut returned = before;
    while returned < before + count {
        let line = lines.next().expect("the daemon ended by itself");
        if let Some(number) = line.strip_prefix("committed ") {
            returned = number.parse().unwrap();
        }
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // What it told between our last look and its death; a line cut short parses to less, or not at all.
    lines
        .filter_map(|line| line.strip_prefix("committed ")?.strip_suffix('.')?.parse().ok())
        .last()
        .unwrap_or(returned)
}

fn commit_for_ever(path: &Path) -> ! {
    let mut store = Sqlite::open(path, controller()).unwrap();
    let mut out = std::io::stdout();
    for commit in u64::try_from(store.load().unwrap().runners.len()).unwrap() / ROWS.. {
        let numbers = commit * ROWS..(commit + 1) * ROWS;
        store
            .commit(&runners(numbers.map(|number| (runner_name(number), Some(runner(number))))))
            .unwrap();
        writeln!(out, "committed {}", commit + 1).unwrap();
        out.flush().unwrap();
    }
    unreachable!("there are numbers enough");
}
