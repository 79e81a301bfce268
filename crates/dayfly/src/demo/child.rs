//! The demo's children: this same program with other words. They end with the demo, also where it fails.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child as Process, Command};

use super::guard::PLACE;

/// How many of a failed child's last words are shown.
const LAST_WORDS_MAX: usize = 2_000;

/// A child process whose output goes to a file.
pub struct Child {
    name: &'static str,
    process: Process,
    log: PathBuf,
}

impl Child {
    /// Starts this program with other arguments, in the demo's own process group, which Ctrl-C does not reach: the demo
    /// ends its children in order.
    pub fn start(
        name: &'static str,
        command: impl FnOnce(&mut Command),
        log: &Path,
    ) -> Result<Self> {
        let program = std::env::current_exe().context("find this program's own file")?;
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut line = Command::new(program);
        command(&mut line);
        line.env_remove(PLACE)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let process = line.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name, process, log: log.to_owned() })
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Fails where it has ended, with its last words.
    pub fn must_run(&mut self) -> Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
            Err(error) => Err(error).with_context(|| format!("look after {}", self.name)),
        }
    }

    /// Waits until `ready` holds; fails where the child ends before, or `patience` runs out.
    pub async fn until(
        &mut self,
        patience: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let wait = async {
            while !ready() {
                self.must_run()?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "{} was not ready within {} s: {}",
                self.name,
                patience.as_secs(),
                self.last_words()
            ),
        }
    }

    /// Asks it to end; kills it where it does not within `patience`, which is an error.
    pub async fn stop(&mut self, patience: Duration) -> Result<()> {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this moment: the wait below tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        match tokio::time::timeout(patience, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
            Ok(Err(error)) => Err(error).with_context(|| format!("wait for {}", self.name)),
            Err(_) => {
                self.process.kill().await.with_context(|| format!("kill {}", self.name))?;
                bail!("{} did not end within {} s and was killed", self.name, patience.as_secs())
            }
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let begin = text.len().saturating_sub(LAST_WORDS_MAX);
        String::from_utf8_lossy(&text[begin..]).trim().to_owned()
    }
}
