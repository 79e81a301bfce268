//! Children of this program: started, watched, and ended by their own id, whatever happens.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A child that ends with its owner: first politely, then not.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
}

impl Daemon {
    /// Starts a program whose output goes to a file.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file =
            std::fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{name} did not start"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once, as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and kills it where it does not within `patience`. Returns its exit code.
    pub fn stop(&mut self, patience: Duration) -> Result<Option<i32>> {
        if let Ok(None) = self.child.try_wait() {
            let id = i32::try_from(self.child.id()).context("process id")?;
            if let Some(pid) = Pid::from_raw(id) {
                // Gone in this very moment: then the wait below knows its end.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        if wait_until(patience, || matches!(self.child.try_wait(), Ok(Some(_)))) {
            return Ok(self.child.wait()?.code());
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("{} did not end within {} s and was killed", self.name, patience.as_secs())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.stop(Duration::from_secs(20)));
        }
    }
}

/// Looks every 20 ms whether `ready` holds; `false` where it does not within `patience`.
pub fn wait_until(patience: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while waited < patience {
        if ready() {
            return true;
        }
        std::thread::sleep(step);
        waited += step;
    }
    ready()
}

/// Runs a program to its end with its output shown; an error where it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{command:?} did not start"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
