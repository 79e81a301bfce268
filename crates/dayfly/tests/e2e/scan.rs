//! No secret is anywhere but where it must be, while jobs run.

use std::process::Command;

use crate::{
    docker::{containers, engine, image},
    site::{Making, Setup, Site, TOKEN},
};

/// What a secret of this run looks like, wherever it stands.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn of(site: &Site) -> Self {
        let mut secrets = vec![
            ("the token", TOKEN.to_owned()),
            ("an installation token", "ghs_".to_owned()),
            // base64 of `{".` and of `{"`: a JIT configuration is JSON of three files, a token of the service a JWT.
            ("a JIT configuration", "eyIu".to_owned()),
            ("a JSON web token", "eyJ".to_owned()),
        ];
        if let Ok(key) = std::fs::read_to_string(site.path("app.pem")) {
            secrets.push(("the App's key", key.lines().nth(1).unwrap().to_owned()));
        }
        Self(secrets)
    }

    /// The kinds of secrets that a text holds.
    fn within(&self, text: &[u8]) -> Vec<&'static str> {
        let has =
            |secret: &str| text.windows(secret.len()).any(|window| window == secret.as_bytes());
        self.0.iter().filter(|(_, secret)| has(secret)).map(|(kind, _)| *kind).collect()
    }
}

/// Every place where a secret must not be, with what is there.
fn places(site: &Site) -> Vec<(String, Vec<u8>)> {
    let mut places = Vec::new();
    let names = ["dayfly.db", "dayfly.db-wal", "events.jsonl", "daemon-1.log", "dayfly.yaml"];
    for name in names {
        places.push((name.to_owned(), std::fs::read(site.path(name)).unwrap_or_default()));
    }
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        if let Ok(arguments) = std::fs::read(path.join("cmdline")) {
            places.push((format!("the arguments in {}", path.display()), arguments));
        }
    }
    let daemon = format!("/proc/{}/environ", site.daemon_id());
    places.push((daemon.clone(), std::fs::read(daemon).unwrap()));
    for words in [["status"], ["runners"], ["jobs"], ["plan"]] {
        places.push((format!("{words:?}"), site.json(&words).to_string().into_bytes()));
    }
    places
}

/// Whether some process below the daemon holds a JIT configuration in its environment: where it must be, and a proof that
/// the scan finds what it looks for.
fn in_a_runner(secrets: &Secrets) -> bool {
    let environments = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let program = std::fs::read(path.join("cmdline")).ok()?;
        let is_runner = program.windows(11).any(|window| window == b"runner-stub");
        is_runner.then(|| std::fs::read(path.join("environ")).ok()).flatten()
    });
    environments
        .into_iter()
        .any(|environment| secrets.within(&environment).contains(&"a JIT configuration"))
}

async fn check(app: bool, scope: &'static str, making: Making) {
    let docker =
        if let Making::Docker { socket, .. } = &making { Some(socket.clone()) } else { None };
    let step =
        if docker.is_some() { "/usr/local/bin/dayfly runner-stub sleep 3" } else { "sleep 3" };
    let mut site = Site::new(Setup { app, scope, making, ..Setup::default() }).await;
    let secrets = Secrets::of(&site);
    site.start_and_wait();
    site.github.queue("acme/site", Some(step), 3).await;
    site.github.until_jobs("running", 3).await;
    assert!(in_a_runner(&secrets), "the scan does not find what it looks for");
    let mut places = places(&site);
    if let Some(socket) = docker {
        let host = format!("unix://{}", socket.display());
        let ask = |words: &[&str]| {
            let output =
                Command::new("docker").args(["--host", &host]).args(words).output().unwrap();
            assert!(
                output.status.success(),
                "docker {words:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            output.stdout
        };
        let controller = site.json(&["status"])["controller"].as_str().unwrap().parse().unwrap();
        let containers = containers(&socket, dayfly_core::model::ControllerId(controller)).unwrap();
        assert_eq!(containers.len(), 3);
        for container in containers {
            places.push((format!("docker inspect {container}"), ask(&["inspect", &container])));
            places.push((format!("docker logs {container}"), ask(&["logs", &container])));
        }
        places
            .push(("docker events".to_owned(), ask(&["events", "--since", "2m", "--until", "0s"])));
    }
    for (place, text) in &places {
        let found = secrets.within(text);
        assert!(found.is_empty(), "{place} holds {found:?}");
    }
    site.github.until_jobs("success", 3).await;
    site.end_clean().await;
    for name in ["dayfly.db", "events.jsonl", "daemon-1.log"] {
        let found = secrets.within(&std::fs::read(site.path(name)).unwrap());
        assert!(found.is_empty(), "{name} holds {found:?} at the end");
    }
}

#[tokio::test]
async fn token_and_processes() {
    check(false, "acme", Making::Process).await;
}

#[tokio::test]
async fn app_and_processes() {
    check(true, "acme/site", Making::Process).await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn app_and_docker() {
    check(true, "acme", Making::Docker { image: image(), socket: engine() }).await;
}
