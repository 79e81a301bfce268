//! The simulated GitHub of a test.

use std::{net::SocketAddr, path::Path, process::Command};

use dayfly_github_sim::ControlClient;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::processes::{DAYFLY, PATIENCE, Process, wait_until};

/// A simulated GitHub in a process of its own.
pub struct GitHub {
    process: Process,
    control: ControlClient,
    /// Its address.
    pub base: String,
}

impl GitHub {
    /// Starts it on `address`.
    pub fn start(address: &str, directory: &Path) -> Self {
        let port_file = directory.join("port");
        let mut command = Command::new(DAYFLY);
        command
            .args(["github-sim", "--listen", &format!("{address}:0"), "--port-file"])
            .arg(&port_file);
        let process = Process::start(&mut command, &directory.join("simulator.log"));
        wait_until("the simulator's port", || port_file.exists());
        let port = std::fs::read_to_string(&port_file).unwrap();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let base = format!("http://{address}:{}", port.trim());
        Self { process, control: ControlClient::new(base.clone(), PATIENCE).unwrap(), base }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.base.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Stops or continues it: every call waits meanwhile.
    pub fn freeze(&self, frozen: bool) {
        self.process.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Asks the control API.
    pub async fn get(&self, what: &str) -> Value {
        self.control.get(what).await.unwrap()
    }

    /// Tells the control API.
    pub async fn post(&self, what: &str, body: &Value) -> Value {
        self.control.post(what, body).await.unwrap()
    }

    /// Has a runner program be the newest.
    pub async fn offer_program(&self, version: &str, archive: Vec<u8>) {
        self.control.upload(&format!("programs?version={version}"), archive).await.unwrap();
    }

    /// Queues `count` jobs of one step.
    pub async fn queue(&self, repository: &str, step: Option<&str>, count: usize) {
        let steps: Vec<&str> = step.into_iter().collect();
        let jobs =
            json!({ "scope": repository, "labels": ["e2e"], "steps": steps, "count": count });
        self.post("jobs", &jobs).await;
    }

    /// Strikes the next call of a route.
    pub async fn fault(&self, route: &str, action: &Value) {
        self.post("faults", &json!({ "route": route, "action": action, "count": 1 })).await;
    }

    /// Ends every fault.
    pub async fn clear_faults(&self) {
        self.control.delete("faults").await.unwrap();
    }

    /// How many jobs are in a phase.
    pub async fn jobs(&self, phase: &str) -> u64 {
        self.get("summary").await["jobs"][phase].as_u64().unwrap()
    }

    /// Waits until that many jobs are in a phase.
    pub async fn until_jobs(&self, phase: &str, count: usize) {
        self.until(&format!("{count} jobs {phase}"), async |github| {
            github.jobs(phase).await == count as u64
        })
        .await;
    }

    /// Waits until a call of the route has come and is not answered yet.
    pub async fn until_held(&self, route: &str) {
        let what = format!("a call of {route} that waits");
        self.until(&what, async |github| {
            let journal = github.get("journal").await;
            let entries = journal.as_array().unwrap();
            entries.iter().any(|entry| entry["route"] == route && entry["answered_at"].is_null())
        })
        .await;
    }

    /// Waits until `ready` holds.
    pub async fn until(&self, what: &str, ready: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !ready(self).await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE * 2, wait).await.is_err() {
            panic!("not in time: {what}; GitHub: {:#}", self.get("summary").await);
        }
    }
}
