//! Where everything stands when a test fails, so that its output alone tells why.

use std::{fmt::Write, path::Path, process::Command};

use serde_json::Value;

use crate::{
    docker::containers,
    github::GitHub,
    site::{Making, Site},
};

/// How many of an instance's last lines are shown.
const LINES: &str = "15";

/// The daemon's runners and log, GitHub's jobs and runners, and the engine's instances. Never fails.
pub fn of(site: &Site) -> String {
    let runners = site.run(&["runners", "--json"]).stdout;
    let mut text = format!("daemon: {}\n", String::from_utf8_lossy(&runners));
    let _ = writeln!(text, "GitHub: {:#}", unfinished(&site.github));
    match (site.making(), site.known_controller()) {
        (Making::Docker { socket, .. }, Some(controller)) => {
            text += &docker(
                socket,
                &["ps", "--all", "--no-trunc", "--filter", "label=dev.dayfly.controller"],
            );
            for container in containers(socket, controller).unwrap_or_default() {
                let _ = writeln!(text, "container {container}:");
                text += &docker(
                    socket,
                    &["inspect", "--format", "{{.Name}} {{json .State}}", &container],
                );
                text += &docker(socket, &["top", &container]);
                text += &docker(socket, &["logs", "--timestamps", "--tail", LINES, &container]);
            }
        }
        (Making::Process, _) => {
            let consoles = site.path("instances").join("*/console");
            let line = format!("tail -n {LINES} -v {}", consoles.display());
            text += &said(Command::new("sh").args(["-c", &line]));
        }
        _ => {}
    }
    let _ = writeln!(text, "daemon's log: {}", site.log());
    text
}

/// The simulator's jobs that have not succeeded, and its runners.
fn unfinished(github: &GitHub) -> Value {
    // The test's own runtime waits for this very call.
    let asked = std::thread::scope(|scope| {
        let ask = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(github.get("state"))
        };
        scope.spawn(ask).join()
    });
    let Ok(mut state) = asked else { return Value::String("it does not answer".to_owned()) };
    if let Some(jobs) = state["jobs"].as_array_mut() {
        jobs.retain(|job| job["phase"] != "success");
    }
    serde_json::json!({ "jobs": state["jobs"], "runners": state["runners"], "sessions": state["sessions"] })
}

fn docker(socket: &Path, words: &[&str]) -> String {
    said(
        Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .args(words),
    )
}

fn said(command: &mut Command) -> String {
    match command.output() {
        Ok(output) => {
            let words = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&words).into_owned()
        }
        Err(error) => format!("{command:?}: {error}\n"),
    }
}
