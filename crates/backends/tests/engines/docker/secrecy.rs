//! A registration is seen by the runner's own processes and by nobody else.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use dayfly_core::ports::{Backend, JitConfig};

use super::engine::{Sweep, cli, shell};
use crate::suite::{Heard, create, runner, watched};

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn a_registration_shows_nowhere() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let runner = runner(docker.controller());
    let secret = format!("c2VjcmV0{}", runner.as_str().replace('-', ""));
    let started = cli(&["info", "--format", "{{.SystemTime}}"]);
    let heard = Heard::default();
    let spec = shell("echo here; exec sleep 600");
    watched(&docker, &heard, async {
        let created = create(&docker, &runner, &spec).await;
        docker.hand_over(&runner, &created.id, JitConfig::new(secret.clone())).await.unwrap();
        while docker.console(&runner).await.unwrap().last().map(String::as_str) != Some("here") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let id = created.id.0.to_string();
        let ended = cli(&["info", "--format", "{{.SystemTime}}"]);
        for words in [
            cli(&["inspect", &id]),
            cli(&["logs", &id]),
            cli(&["top", &id]),
            cli(&["events", "--since", started.trim(), "--until", ended.trim()]),
            cli(&["ps", "-a", "--no-trunc"]),
        ] {
            assert!(!words.contains(&secret), "{words}");
        }
        let root = cli(&["info", "--format", "{{.DockerRootDir}}"]);
        for file in files(&Path::new(root.trim()).join("containers").join(&id)) {
            assert!(!holds(&fs::read(&file).unwrap(), &secret), "{}", file.display());
        }
        let mut knowing = 0;
        for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
            let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
            assert!(!holds(&read("cmdline"), &secret), "{}", process.display());
            if holds(&read("environ"), &secret) {
                assert!(holds(&read("cgroup"), &id), "{} is not the runner's", process.display());
                knowing += 1;
            }
        }
        assert_eq!(knowing, 1, "the runner has it, and is found by this search");
        let said = format!("{:?}", heard.events());
        assert!(!said.contains(&secret));
    })
    .await;
    docker.destroy(&runner, false).await.unwrap();
}
