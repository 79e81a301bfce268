//! The demo, ended before its time: nothing of it is left.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use axum::{Json, Router, body::Body, http::StatusCode, routing::get};
use dayfly_core::{model::ControllerId, ports::Store};
use dayfly_store::Sqlite;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::{
    docker::{containers, engine},
    processes::{DAYFLY, Process, pid, wait_until},
};

/// How a demo is ended.
#[derive(Debug, Clone, Copy)]
enum End {
    /// A signal to the process that the user started.
    Signal(Signal),
    /// `kill -9` of the process that plays.
    PlayerKilled,
}

/// A demo, and the only directory that it may make its own in.
struct Demo {
    process: Process,
    home: tempfile::TempDir,
}

impl Demo {
    fn start(words: &[&str], docker_host: Option<&Path>) -> Self {
        let home = tempfile::Builder::new().prefix("dayfly-e2e-demo-").tempdir().unwrap();
        std::fs::create_dir(home.path().join("tmp")).unwrap();
        let mut command = Command::new(DAYFLY);
        command.arg("demo").args(words).env("TMPDIR", home.path().join("tmp"));
        if let Some(socket) = docker_host {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        }
        let process = Process::start(&mut command, &home.path().join("output"));
        Self { process, home }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.home.path().join("output")).unwrap()
    }

    /// The demo's own directory, while there is one.
    fn place(&self) -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(self.home.path().join("tmp")).unwrap();
        entries.next().map(|entry| entry.unwrap().path())
    }

    fn controller(&self) -> ControllerId {
        let store = self.place().unwrap().join("dayfly.db");
        Sqlite::open_read_only(&store).unwrap().load().unwrap().controller
    }

    /// Every process whose environment speaks of this demo.
    fn processes(&self) -> Vec<u32> {
        with_environment(&self.home.path().display().to_string())
    }

    fn player(&self) -> u32 {
        with_environment(&format!("DAYFLY_DEMO_PLACE={}", self.home.path().display()))[0]
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the demo said: {}", self.output());
        }
        for id in self.processes() {
            let _ = rustix::process::kill_process(pid(id), Signal::KILL);
        }
    }
}

fn with_environment(words: &str) -> Vec<u32> {
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(words)
    })
    .collect()
}

/// A demo that is ended while its jobs run leaves no directory, no process and no container.
fn check(backend: &str, end: End) {
    let mut demo = Demo::start(
        &[
            "--backend",
            backend,
            "--jobs",
            "5",
            "--max",
            "4",
            "--warm",
            "1",
            "--seconds-per-job",
            "600",
        ],
        None,
    );
    wait_until("running jobs", || demo.output().contains(" 4 running"));
    let controller = demo.controller();
    match end {
        End::Signal(signal) => demo.process.signal(signal),
        End::PlayerKilled => {
            rustix::process::kill_process(pid(demo.player()), Signal::KILL).unwrap();
        }
    }
    wait_until("the demo's end", || demo.process.ended().is_some());
    // Where the guard was killed, the rest outlives it for a moment.
    wait_until("the end of all its processes", || demo.processes().is_empty());
    assert_eq!(demo.place(), None, "{end:?}");
    if backend == "docker" {
        assert_eq!(containers(&engine(), controller), Ok(Vec::new()), "{end:?}");
    }
    match end {
        End::Signal(Signal::KILL) => {}
        End::Signal(_) => {
            let nothing = "left behind: 0 instances, 0 registrations, 0 sessions, 0 rows";
            assert!(demo.output().contains(nothing), "{}", demo.output());
        }
        End::PlayerKilled => assert!(demo.output().contains("the demo was killed")),
    }
}

const ENDS: [End; 4] = [
    End::Signal(Signal::INT),
    End::Signal(Signal::TERM),
    End::Signal(Signal::KILL),
    End::PlayerKilled,
];

#[test]
fn nothing_of_a_demo_with_processes_outlives_it() {
    ENDS.into_iter().for_each(|end| check("process", end));
}

#[test]
#[ignore = "needs dockerd"]
fn nothing_of_a_demo_with_containers_outlives_it() {
    ENDS.into_iter().for_each(|end| check("docker", end));
}

/// A demo ended before it began leaves nothing either.
#[test]
fn a_demo_can_be_ended_at_any_moment() {
    for after_ms in [0, 20, 100, 300, 600] {
        let mut demo = Demo::start(&["--backend", "process", "--warm", "2"], None);
        wait_until("the player", || !demo.processes().is_empty());
        std::thread::sleep(std::time::Duration::from_millis(after_ms));
        demo.process.signal(Signal::TERM);
        wait_until("the demo's end", || demo.process.ended().is_some());
        wait_until("the end of all its processes", || demo.processes().is_empty());
        assert_eq!(demo.place(), None, "{after_ms} ms");
    }
}

/// Where Docker can't be used the demo says why and uses processes.
fn falls_back(socket: &Path, why: &str) {
    let words = ["--jobs", "2", "--max", "2", "--seconds-per-job", "0", "--once"];
    let mut demo = Demo::start(&words, Some(socket));
    wait_until("the demo's end", || demo.process.ended().is_some());
    let output = demo.output();
    assert!(output.contains("Docker can't be used here: ") && output.contains(why), "{output}");
    assert!(output.contains("2 jobs: 2 succeeded"), "{output}");
    let asked = Demo::start(&[&words[..], &["--backend", "docker"]].concat(), Some(socket));
    let mut asked = asked;
    wait_until("the demo's end", || asked.process.ended().is_some());
    assert_eq!(asked.process.ended().unwrap().code(), Some(5), "{}", asked.output());
    assert!(asked.output().contains(why), "{}", asked.output());
}

#[test]
fn an_engine_that_refuses_is_told_and_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    falls_back(&socket, "docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    falls_back(&socket, "Connection refused");
}

/// An engine that answers, has no image and takes none.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_engine_does_not_take_is_told_and_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let refused = |status, words: &str| (status, Json(json!({ "message": words })));
    let full = async move |body: Body| {
        let taken = axum::body::to_bytes(body, usize::MAX).await;
        assert!(taken.is_ok_and(|tar| !tar.is_empty()), "an image came");
        refused(StatusCode::INTERNAL_SERVER_ERROR, "write /layer.tar: no space left on device")
    };
    let version: Value = json!({ "ApiVersion": "1.41", "Version": "20.10.24" });
    let app = Router::new()
        .route("/version", get(async || Json(version)))
        .route("/images/create", axum::routing::post(full))
        .fallback(async move || refused(StatusCode::NOT_FOUND, "no such image"));
    let listener = UnixListener::bind(&socket).unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await });
    tokio::task::spawn_blocking(move || falls_back(&socket, "no space left on device"))
        .await
        .unwrap();
}
