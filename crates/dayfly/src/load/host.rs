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
    runtime::{self, Handle},
    task::AbortHandle,
};
use tokio_util::task::TaskTracker;

use super::player;
use crate::arguments::NoopLoad;

/// The lowest of the usual priorities.
const NICE: i32 = 19;

/// Plays every runner in a task of its own, on threads of their own.
struct Stage {
    threads: Handle,
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
        let play = async move {
            let exit = match player::play(jit.expose(), &say).await {
                Ok(()) => Exit { code: Some(0), ..Exit::default() },
                Err(error) => {
                    let last_output = vec![format!("{error:#}")];
                    Exit { code: Some(1), last_output, ..Exit::default() }
                }
            };
            say.ended(exit);
        };
        let task = self.tasks.spawn_on(play, &self.threads);
        self.played().insert(name, task.abort_handle());
    }

    fn destroyed(&self, runner: &RunnerName) {
        if let Some(task) = self.played().remove(runner) {
            task.abort();
        }
    }
}

/// Serves until its input ends. Each line of it is a question, each line of its output the answer: `report` tells of the creates since
/// the last `reset`, `instances` names the instances that hold a registration.
pub fn host(options: &NoopLoad) -> Result<()> {
    // An engine answers whatever its machine's instances do; and runners run on other machines than the daemon, or give way to it.
    let players = runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(|| {
            // At the usual priority they would only be in the way.
            let _ = rustix::process::setpriority_process(None, NICE);
        })
        .build()
        .context("start the runners' threads")?;
    let engine = runtime::Builder::new_current_thread().enable_all().build();
    let served =
        engine.context("start the runtime")?.block_on(serve(options, players.handle().clone()));
    players.shutdown_background();
    served
}

async fn serve(options: &NoopLoad, threads: Handle) -> Result<()> {
    let stage = Arc::new(Stage { threads, tasks: TaskTracker::new(), played: Mutex::default() });
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
        let answer = if line == "instances" {
            json!(stage.played().keys().collect::<Vec<_>>())
        } else {
            let mut times = host.create_times(seen);
            if line == "reset" {
                seen += times.len();
                times.clear();
            }
            json!({
                "creates": times.len(),
                "first_create_at": times.first(),
                "last_create_at": times.last(),
            })
        };
        output.write_all(format!("{answer}\n").as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}
