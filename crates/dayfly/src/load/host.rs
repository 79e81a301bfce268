//! `dayfly noop-load`: instances without anything in them, in a process that outlives the daemon.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use dayfly_backends::noop::{EventSender, Host, Player};
use dayfly_core::{
    model::{Exit, RunnerName},
    ports::JitConfig,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    task::AbortHandle,
};
use tokio_util::task::TaskTracker;

use super::player;
use crate::arguments::NoopLoad;

/// Plays every runner in a task of its own.
#[derive(Default)]
struct Stage {
    tasks: TaskTracker,
    /// Runners that hold a registration and were not destroyed.
    played: Mutex<BTreeMap<RunnerName, AbortHandle>>,
}

impl Stage {
    fn played(&self) -> MutexGuard<'_, BTreeMap<RunnerName, AbortHandle>> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Player for Stage {
    fn hand_over(&self, runner: RunnerName, jit: JitConfig, say: EventSender) {
        let name = runner.clone();
        let task = self.tasks.spawn(async move {
            let exit = match player::play(jit.expose(), &say).await {
                Ok(()) => Exit { code: Some(0), ..Exit::default() },
                Err(error) => {
                    let last_output = vec![format!("{error:#}")];
                    Exit { code: Some(1), last_output, ..Exit::default() }
                }
            };
            say.ended(exit);
        });
        self.played().insert(name, task.abort_handle());
    }

    fn destroyed(&self, runner: &RunnerName) {
        if let Some(task) = self.played().remove(runner) {
            task.abort();
        }
    }
}

/// Serves until its input ends. Each line of it is a question, each line of its output the answer:
/// `report` tells of the creates since the last `reset` and names the instances that hold a registration.
pub async fn host(options: &NoopLoad) -> Result<()> {
    let stage = Arc::new(Stage::default());
    let host = Host::new(Arc::<Stage>::clone(&stage));
    let path = &options.listen;
    let listener =
        UnixListener::bind(path).with_context(|| format!("make the socket {}", path.display()))?;
    tokio::select! {
        error = host.serve(listener) => Err(error).context("serve daemons"),
        outcome = answer(&host, &stage) => outcome,
    }
}

async fn answer(host: &Host, stage: &Stage) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut output = tokio::io::stdout();
    let mut seen = 0;
    while let Some(line) = lines.next_line().await? {
        let creates = host.creates();
        if line == "reset" {
            seen = creates.len();
        }
        let new = creates.get(seen..).unwrap_or_default();
        let answer = json!({
            "creates": new.len(),
            "first_create_at": new.first().map(|(_, at)| at),
            "last_create_at": new.last().map(|(_, at)| at),
            "instances": stage.played().keys().collect::<Vec<_>>(),
        });
        output.write_all(format!("{answer}\n").as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}
