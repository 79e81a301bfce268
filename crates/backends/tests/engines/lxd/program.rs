//! The runner program that is put into instances whose image has none.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dayfly_core::{
    model::{InstanceSpec, LxdSpec, Program, ProgramState},
    ports::{Backend, BackendErrorKind, CreateRequest},
};

use super::server::{Sweep, cli, refused, shell};
use crate::suite::{Heard, RUNNER, create, jit, pool, runner, watched};

/// Packs a program as GitHub does: `run.sh`, and what it starts.
fn pack(home: &Path, script: &str) -> PathBuf {
    let files = home.join("files");
    fs::create_dir_all(files.join("bin")).unwrap();
    let write = |name: &str, text: &str| {
        let file = files.join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("run.sh", script);
    write("bin/Runner.Listener", "[ \"$1\" = --version ] && echo 2.330.0");
    let archive = home.join("program.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&files).arg("-czf").arg(&archive).args(["run.sh", "bin"]);
    assert!(tar.status().unwrap().success());
    archive
}

fn with(state: ProgramState) -> InstanceSpec {
    let program = Some(Program { state, ..Program::wanted(None, None) });
    let lxd = Some(LxdSpec { program, ..LxdSpec::default() });
    InstanceSpec { command: vec![], lxd, ..shell("") }
}

fn ready(file: &Path) -> InstanceSpec {
    with(ProgramState::Ready {
        version: "2.330.0".to_owned(),
        sha256: "0".repeat(64),
        file: file.to_owned(),
        refused_from: None,
    })
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn the_runner_program_is_put_in_and_run() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let home = tempfile::tempdir().unwrap();
    let script = "[ \"$PWD\" = /opt/dayfly/runner ] && touch _diag && [ ! -e /.dayfly-program.tar.gz ] || exit 1\nid -u";
    let archive = pack(home.path(), &format!("{script}\n{RUNNER}"));
    for user in [None, Some("runner".to_owned())] {
        let spec = InstanceSpec { user: user.clone(), ..ready(&archive) };
        let runner = runner(lxd.controller());
        let heard = Heard::default();
        let (signs, exit) = watched(&lxd, &heard, async {
            let created = create(&lxd, &runner, &spec).await;
            lxd.hand_over(&runner, &created.id, jit("quick")).await.unwrap();
            heard.end_of(&runner).await
        })
        .await;
        assert_eq!((signs.len(), exit.code), (3, Some(7)), "{exit:?}");
        let id = if user.is_some() { "1001" } else { "0" };
        assert!(exit.last_output.iter().any(|line| line == id), "{exit:?}");
        lxd.destroy(&runner, false).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_program_that_can_not_be_put_in_is_refused_with_its_reason() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let home = tempfile::tempdir().unwrap();
    let check = async |spec, kind, words| refused(&lxd, spec, kind, words).await;
    let why = "GitHub does not answer".to_owned();
    let missing = with(ProgramState::Missing { why });
    check(missing, BackendErrorKind::ImageMissing, "not at hand: GitHub does not answer").await;
    let nowhere = home.path().join("nowhere");
    check(ready(&nowhere), BackendErrorKind::ImageMissing, "nowhere").await;
    let archive = pack(home.path(), "exit 0");
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    check(ready(&archive), BackendErrorKind::NotAllowed, "could not be unpacked").await;
    let other = home.path().join("other.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(home.path()).arg("-czf").arg(&other).arg("files/bin");
    assert!(tar.status().unwrap().success());
    check(ready(&other), BackendErrorKind::NotAllowed, "has no run.sh").await;
}

/// A crash while the program is put in, or after: the next create ends what was begun, and nothing of the archive stays.
#[tokio::test]
#[ignore = "needs lxd"]
async fn a_program_that_was_half_put_in_is_put_in_again() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let home = tempfile::tempdir().unwrap();
    let archive = pack(home.path(), RUNNER);
    let (runner, pool, spec) = (runner(lxd.controller()), pool(), ready(&archive));
    let request = || CreateRequest { runner: &runner, pool: &pool, spec: &spec };
    // Dropped at whatever it was about, many times over.
    for milliseconds in [200, 300, 350, 400, 450, 500] {
        let patience = Duration::from_millis(milliseconds);
        if tokio::time::timeout(patience, lxd.create(request())).await.is_ok() {
            break;
        }
    }
    let created = lxd.create(request()).await.unwrap();
    assert!(created.ready);
    let left = cli(&["exec", runner.as_str(), "--", "ls", "-a", "/", "/var/lib/dayfly"]);
    assert!(!left.contains("program.tar.gz"), "{left}");
    let heard = Heard::default();
    watched(&lxd, &heard, async {
        lxd.hand_over(&runner, &created.id, jit("quick")).await.unwrap();
        assert_eq!(heard.end_of(&runner).await.1.code, Some(7));
    })
    .await;
    lxd.destroy(&runner, false).await.unwrap();
}
