//! The demo's daemon: the real `dayfly run`, in a process of its own, spoken to through its socket.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use dayfly_core::{
    model::{Event, EventKind, Phase},
    report::RunnerView,
};
use dayfly_server::{Accepted, StatusDocument};
use reqwest::Method;
use serde_json::json;

use super::{
    child::Child,
    place::{POOL, Place},
    summary::{Runners, Spread},
};
use crate::client::Client;

/// From the start to the first session: a store is made, a scale set too.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long the last runners may take to go.
const EMPTY_PATIENCE: Duration = Duration::from_secs(120);

/// SIGTERM → end: a session is closed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// The daemon.
pub struct Daemon {
    child: Child,
    client: Client,
    /// Its socket.
    pub socket: PathBuf,
    events: PathBuf,
}

impl Daemon {
    /// Starts it; does not wait for it.
    pub fn start(place: &Place, config: &Path, token: &Path) -> Result<Self> {
        let (socket, events) = (place.file("dayfly.sock"), place.file("events.jsonl"));
        let command = |line: &mut tokio::process::Command| {
            line.arg("run")
                .arg("--config")
                .arg(config)
                .arg("--socket")
                .arg(&socket)
                .arg("--events")
                .arg(&events);
            line.arg("--token").arg(format!("file:{}", token.display()));
        };
        let child = Child::start("dayfly run", command, &place.file("daemon.log"))?;
        Ok(Self { child, client: Client::new(&socket)?, socket, events })
    }

    /// Waits until its session stands.
    pub async fn until_session(&mut self) -> Result<()> {
        let wait = async {
            // Until it listens on its socket it does not answer.
            while !self
                .status()
                .await
                .is_ok_and(|told| told.status.pools.iter().any(|pool| pool.session))
            {
                self.child.must_run()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(START_PATIENCE, wait).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("the daemon has no session after {} s", START_PATIENCE.as_secs()),
        }
    }

    /// Fails where it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.child.must_run()
    }

    /// What it says of itself.
    pub async fn status(&self) -> Result<StatusDocument> {
        Ok(self.client.get("/v1/status", &[]).await?)
    }

    /// Deletes the pool, and waits until nothing of it is left.
    pub async fn delete_pool(&mut self) -> Result<()> {
        let _: Accepted =
            self.client.send_to(Method::DELETE, &["v1", "pools", POOL], &json!({})).await?;
        let wait = async {
            loop {
                let runners: Vec<RunnerView> = self.client.get("/v1/runners", &[]).await?;
                let pools = self.status().await?.status.pools;
                if runners.is_empty() && pools.iter().all(|pool| pool.state == "deleted") {
                    return anyhow::Ok(());
                }
                self.child.must_run()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(EMPTY_PATIENCE, wait).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("the pool is not empty after {} s", EMPTY_PATIENCE.as_secs()),
        }
    }

    /// Evidence → create call, in milliseconds.
    pub async fn evidence_to_create(&self) -> Result<Spread> {
        let spread = self.status().await?.daemon.timings.evidence_to_create_ms;
        Ok(Spread { p50: spread.p50, p99: spread.p99, max: spread.max })
    }

    /// Its peak memory in MiB; `None` where the system does not tell.
    pub fn memory_peak_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// Ends it as a user would.
    pub async fn stop(&mut self) -> Result<()> {
        self.child.stop(STOP_PATIENCE).await
    }

    /// How many runners there were, by its event log.
    pub fn runners(&self) -> Runners {
        let text = std::fs::read_to_string(&self.events).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
        counted(events)
    }
}

/// Runners made, and the most that were there at once; one that is being removed has made room.
fn counted(events: impl Iterator<Item = Event>) -> Runners {
    let (mut live, mut counts) = (BTreeSet::new(), Runners::default());
    for event in events {
        let EventKind::Runner { runner, from, to } = event.kind else { continue };
        if from.is_none() {
            counts.created += 1;
        }
        if matches!(to, Phase::Removing | Phase::Gone) {
            live.remove(&runner);
        } else {
            live.insert(runner);
        }
        counts.peak = counts.peak.max(live.len());
    }
    counts
}

#[cfg(test)]
mod tests {
    use dayfly_core::model::RunnerName;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn runners_are_counted_from_their_phases() {
        let event = |name: &str, from: Option<Phase>, to: Phase| Event {
            at: Timestamp::UNIX_EPOCH,
            kind: EventKind::Runner {
                runner: RunnerName::new(format!("demo-{name}aaaaaaaaaaaaa")).unwrap(),
                from,
                to,
            },
        };
        let events = [
            event("a", None, Phase::Planned),
            event("b", None, Phase::Planned),
            event("a", Some(Phase::Planned), Phase::Creating),
            event("a", Some(Phase::Busy), Phase::Removing),
            event("c", None, Phase::Planned),
            event("a", Some(Phase::Removing), Phase::Gone),
        ];
        let counts = counted(events.into_iter());
        assert_eq!((counts.created, counts.peak), (3, 2));
    }
}
