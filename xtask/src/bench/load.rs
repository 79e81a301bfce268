//! The load: a process that keeps the instances of the `noop` backend and plays their runners.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::process::wait_until;

/// The load process. It outlives the daemon, as an engine does.
pub struct Load {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What the load saw since the last reset.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Report {
    /// Create calls that made an instance.
    pub creates: u64,
    /// When the first of them came, in Unix seconds.
    pub first_create_at: Option<f64>,
    /// When the newest of them came.
    pub last_create_at: Option<f64>,
}

impl Load {
    /// Starts it; it listens on `socket` when this returns.
    pub fn start(program: &Path, socket: &Path, log: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .args(["noop-load", "--listen"])
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .context("noop-load did not start")?;
        // Runners run on other machines, or at least in their own time: what is measured is not how they hold the daemon up.
        rustix::process::setpriority_process(Some(Pid::from_child(&process)), 10)
            .context("lower noop-load's priority")?;
        let commands = process.stdin.take().context("noop-load's input")?;
        let answers = BufReader::new(process.stdout.take().context("noop-load's output")?);
        let mut load = Self { process, commands, answers };
        if !wait_until(Duration::from_secs(10), || {
            socket.exists() || !matches!(load.process.try_wait(), Ok(None))
        }) {
            bail!("noop-load makes no socket");
        }
        load.report()?;
        Ok(load)
    }

    /// What it saw.
    pub fn report(&mut self) -> Result<Report> {
        serde_json::from_str(&self.ask("report")?).context("noop-load's report")
    }

    /// The names of the instances that hold a registration now.
    pub fn instances(&mut self) -> Result<BTreeSet<String>> {
        serde_json::from_str(&self.ask("instances")?).context("noop-load's instances")
    }

    /// Counts anew from here.
    pub fn reset(&mut self) -> Result<()> {
        self.ask("reset").map(drop)
    }

    /// Stops it where it is: connections stand, and no call is answered any more.
    pub fn freeze(&self) -> Result<()> {
        let id = Pid::from_child(&self.process);
        kill_process(id, Signal::STOP).context("stop noop-load")
    }

    fn ask(&mut self, what: &str) -> Result<String> {
        writeln!(self.commands, "{what}").context("noop-load has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("noop-load has ended");
        }
        Ok(line)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has nothing to lose; an error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
