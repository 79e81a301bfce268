//! Whole files of other programs, and what is made of them: `tests/import`. `UPDATE=1` writes what is made anew: read the
//! difference before you commit it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// What `from` makes of a file is as recorded, is a configuration that dayfly takes, and holds no secret.
fn check(from: ImportFrom, name: &str, database: Option<PathBuf>, expected: &str) {
    let import = Import { from, file: folder().join(name), url: None, database };
    let text = read(&import).unwrap().text().unwrap();
    let path = folder().join(expected);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "{expected}");
    for secret in ["ghp_", "hunter2"] {
        assert!(!text.contains(secret), "{expected} holds a secret");
    }
    if let Err(errors) = dayfly_config::parse(text.as_bytes(), &path) {
        panic!("{expected} is no configuration: {errors}");
    }
}

#[test]
fn outrunner() {
    check(ImportFrom::Outrunner, "outrunner.yml", None, "outrunner.dayfly.yaml");
}

#[test]
fn lxdrunner() {
    check(ImportFrom::Lxdrunner, "lxdrunner.yml", None, "lxdrunner.dayfly.yaml");
    check(ImportFrom::Lxdrunner, "lxdrunner-remote.yml", None, "lxdrunner-remote.dayfly.yaml");
}

#[test]
fn garm() {
    let place = tempfile::tempdir().unwrap();
    let database = place.path().join("garm.db");
    let tables = fs::read_to_string(folder().join("garm.sql")).unwrap();
    Connection::open(&database).unwrap().execute_batch(&tables).unwrap();
    check(ImportFrom::Garm, "garm.toml", Some(database), "garm.dayfly.yaml");
}

#[test]
fn what_is_no_configuration_is_refused() {
    let refused = |from, text: &str, why: &str| {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("config");
        fs::write(&file, text).unwrap();
        let error =
            read(&Import { from, file, url: None, database: None }).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    };
    refused(ImportFrom::Outrunner, "url: https://github.com/acme", "no `runners`");
    refused(ImportFrom::Outrunner, "runners: [hunter2", "");
    refused(ImportFrom::Outrunner, "runners: hunter2", "");
    refused(ImportFrom::Lxdrunner, "pat: hunter2", "no `runnermap`");
    refused(ImportFrom::Lxdrunner, "pat: hunter2\nmax_workers: hunter2", "");
    refused(ImportFrom::Garm, "[jwt_auth]\nsecret = hunter2", "");
    refused(ImportFrom::Garm, "[package]\nname = 'hunter2'", "none of `provider`");
    refused(ImportFrom::Garm, "[apiserver]\nport = 'hunter2'", "");
}

#[test]
fn a_database_that_is_none_is_refused() {
    let database = Some(folder().join("garm.sql"));
    let import =
        Import { from: ImportFrom::Garm, file: folder().join("garm.toml"), url: None, database };
    let error = read(&import).unwrap_err();
    assert!(error.to_string().contains("garm.sql"), "{error}");
}

#[test]
fn names_are_dayflys() {
    let check = |wanted: &str, taken: &[&str], made: &str| {
        assert_eq!(names::free(&names::name(wanted, "pool"), taken), made, "{wanted}");
    };
    check("Ubuntu - Container Runner", &[], "ubuntu-container-runner");
    check("10 - ours", &[], "ours");
    check("_", &[], "pool");
    check("x", &["pool"], "pool-2");
    check("linux", &["linux", "linux-2"], "linux-3");
    check(&"a".repeat(60), &[], &"a".repeat(48));
    check(&"a".repeat(60), &[&"a".repeat(48)], &format!("{}-2", "a".repeat(46)));
}
