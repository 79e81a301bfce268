//! The demo's side of the simulated GitHub: plays its users, and looks behind its scenes.

use std::time::Duration;

use anyhow::Result;
use dayfly_github_sim::ControlClient;
use serde::Deserialize;
use serde_json::{Value, json};

/// The organisation that the demo's runners serve.
pub const ORGANISATION: &str = "demo";

/// The simulator is on this machine and answers at once; only a bug takes longer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A simulated GitHub that runs in another process.
pub struct Simulator(ControlClient);

/// What the simulator holds.
#[derive(Debug, Deserialize)]
pub struct State {
    /// Every job.
    pub jobs: Vec<Job>,
    /// Every registration.
    pub runners: Vec<Value>,
    /// Every message session.
    pub sessions: Vec<Value>,
}

/// A job, with times in Unix seconds.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Where it is: waiting, assigned, offered, running, or its conclusion.
    pub phase: String,
    /// The runner that has or had it.
    pub runner_name: Option<String>,
    /// When it was queued.
    pub queued_at: f64,
    /// When a runner took it.
    pub started_at: Option<f64>,
    /// When it ended.
    pub completed_at: Option<f64>,
}

impl Simulator {
    /// The simulator at an address such as `http://127.0.0.1:8123`.
    pub fn at(base: String) -> Result<Self> {
        Ok(Self(ControlClient::new(base, ANSWER_PATIENCE)?))
    }

    /// The address of the demo's scope.
    pub fn scope_url(&self) -> String {
        format!("{}/{ORGANISATION}", self.0.base())
    }

    /// Makes the organisation and a token that may manage its runners.
    pub async fn prepare(&self, token: &str) -> Result<()> {
        self.0.post("scopes", &json!({ "path": ORGANISATION })).await?;
        let owners = [ORGANISATION];
        let permissions = ["admin:org"];
        self.0.post(
            "credentials",
            &json!({ "type": "pat", "token": token, "permissions": permissions, "owners": owners }),
        )
        .await?;
        Ok(())
    }

    /// Tells it the address by which runners reach it, where that is not the one that the daemon uses.
    pub async fn runners_reach_it_at(&self, address: &str) -> Result<()> {
        self.0.post("options", &json!({ "runner_url": address })).await?;
        Ok(())
    }

    /// Queues `count` jobs of one step.
    pub async fn queue(&self, label: &str, step: Option<&str>, count: u32) -> Result<()> {
        let steps: Vec<&str> = step.into_iter().collect();
        let jobs = json!({
            "scope": ORGANISATION, "labels": [label], "steps": steps, "count": count, "display_name": "job"
        });
        self.0.post("jobs", &jobs).await?;
        Ok(())
    }

    /// Cancels every job that has not ended: its runner, where it has one, ends it.
    pub async fn cancel_all(&self) -> Result<()> {
        for job in self.state().await?.jobs.iter().filter(|job| job.completed_at.is_none()) {
            self.0.post(&format!("jobs/{}/cancel", job.id), &json!({})).await?;
        }
        Ok(())
    }

    /// Everything that it holds.
    pub async fn state(&self) -> Result<State> {
        Ok(self.0.get("state").await?)
    }

    /// How many requests the daemon made, but for polls that came back empty.
    pub async fn daemon_calls(&self) -> Result<u64> {
        Ok(self.0.daemon_calls().await?)
    }
}
