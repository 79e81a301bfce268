//! The simulated GitHub of a benchmark, in a process of its own.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use dayfly_github_sim::ControlClient;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process::{Daemon, wait_until};

/// The organisation of every benchmark.
pub const ORGANISATION: &str = "bench";

/// The token that may manage its runners. It opens the simulator alone.
pub const TOKEN: &str = "ghp_benchbenchbenchbenchbenchbenchbench1";

/// Ten thousand runners' state takes a while to write down.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// A simulated GitHub.
pub struct Simulator {
    _process: Daemon,
    control: ControlClient,
}

/// A job, with times in Unix seconds.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// When it was queued.
    pub queued_at: f64,
    /// When its first step began, as its runner reported it.
    pub first_step_at: Option<f64>,
}

/// A runner's registration.
#[derive(Debug, Deserialize)]
pub struct Registration {
    /// The runner's name.
    pub name: String,
}

/// All of it.
#[derive(Debug, Deserialize)]
pub struct State {
    /// Every job.
    pub jobs: Vec<Job>,
    /// Every registration.
    pub runners: Vec<Registration>,
}

/// Counts of what there is.
#[derive(Debug, Deserialize)]
pub struct Counts {
    jobs: BTreeMap<String, u64>,
    runners: RunnerCounts,
    /// Message sessions.
    pub sessions: u64,
}

#[derive(Debug, Deserialize)]
struct RunnerCounts {
    total: u64,
    online: u64,
}

impl Counts {
    /// Jobs in a phase.
    pub fn jobs(&self, phase: &str) -> u64 {
        self.jobs.get(phase).copied().unwrap_or(0)
    }

    /// Registrations.
    pub fn registrations(&self) -> u64 {
        self.runners.total
    }

    /// Runners that are connected.
    pub fn online(&self) -> u64 {
        self.runners.online
    }
}

#[derive(Debug, Deserialize)]
struct Entry {
    number: u64,
    route: String,
    status: Option<u16>,
    received_at: f64,
    answered_at: Option<f64>,
}

impl Simulator {
    /// Starts one that listens on `address`, with its organisation and token.
    pub async fn start(program: &Path, address: &str, directory: &Path) -> Result<Self> {
        let port_file = directory.join("simulator.port");
        let mut command = Command::new(program);
        command
            .args(["github-sim", "--listen", &format!("{address}:0"), "--port-file"])
            .arg(&port_file);
        let mut process =
            Daemon::start("github-sim", &mut command, &directory.join("simulator.log"))?;
        let mut port = None;
        wait_until(Duration::from_secs(10), || {
            port = std::fs::read_to_string(&port_file)
                .ok()
                .and_then(|text| text.trim().parse::<u16>().ok());
            port.is_some() || !process.runs()
        });
        let port = port.context("the simulator told no port")?;
        let control = ControlClient::new(format!("http://{address}:{port}"), ANSWER_PATIENCE)?;
        let simulator = Self { _process: process, control };
        simulator.control.post("scopes", &json!({ "path": ORGANISATION })).await?;
        simulator.control.post("credentials", &json!({ "type": "pat", "token": TOKEN })).await?;
        // No limit of GitHub's is what is measured here; the journal is not read, the counters are.
        let hour = 3_600_000;
        simulator
            .options(&json!({
                "core_limit": 10_000_000, "registration_limit": 10_000_000, "journal_max": 1_000,
                "runner_offline_ms": 24 * hour, "lock_ms": 24 * hour, "offer_ms": hour, "reassign_ms": hour,
            }))
            .await?;
        Ok(simulator)
    }

    /// Its address.
    pub fn base(&self) -> &str {
        self.control.base()
    }

    /// Changes its options.
    pub async fn options(&self, options: &Value) -> Result<()> {
        self.control.post("options", options).await?;
        Ok(())
    }

    /// Queues equal jobs; returns the time just before.
    pub async fn queue(&self, label: &str, steps: &[&str], count: usize) -> Result<f64> {
        let before = super::clock::now();
        self.control.post(
            "jobs",
            &json!({ "scope": ORGANISATION, "labels": [label], "steps": steps, "count": count }),
        )
        .await?;
        Ok(before)
    }

    /// Everything.
    pub async fn state(&self) -> Result<State> {
        Ok(self.control.get("state").await?)
    }

    /// Counts.
    pub async fn counts(&self) -> Result<Counts> {
        Ok(self.control.get("summary").await?)
    }

    /// Waits until the counts satisfy `ready`.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        ready: impl Fn(&Counts) -> bool,
    ) -> Result<()> {
        let wait = async {
            while !ready(&self.counts().await?) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let counts = self.counts().await?;
                anyhow::bail!("{what}: not within {} s; {counts:?}", patience.as_secs())
            }
        }
    }

    /// How many requests the daemon made, but for polls that came back empty.
    pub async fn daemon_calls(&self) -> Result<u64> {
        Ok(self.control.daemon_calls().await?)
    }

    /// The number of the journal's next entry.
    pub async fn journal_end(&self) -> Result<u64> {
        let entries: Vec<Entry> = self.control.get("journal").await?;
        Ok(entries.last().map_or(0, |entry| entry.number + 1))
    }

    /// From the first message that was answered since the journal's entry `since` to the arrival of its acknowledgement.
    pub async fn message_to_acknowledgement_ms(&self, since: u64) -> Result<Option<f64>> {
        // A poll begins long before it is answered: it stands before `since`.
        let entries: Vec<Entry> = self.control.get("journal").await?;
        let acknowledged = entries
            .iter()
            .find(|entry| entry.number >= since && entry.route == "messages.delete")
            .map(|entry| entry.received_at);
        let answered = |until: f64| {
            let answers = entries
                .iter()
                .filter(|entry| entry.route == "messages.get" && entry.status == Some(200));
            answers
                .filter_map(|entry| entry.answered_at)
                .filter(|at| *at <= until)
                .fold(None, |newest: Option<f64>, at| {
                    Some(newest.map_or(at, |newest| newest.max(at)))
                })
        };
        Ok(acknowledged.and_then(|until| answered(until).map(|at| (until - at) * 1_000.0)))
    }
}
