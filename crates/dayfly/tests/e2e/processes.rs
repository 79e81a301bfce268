//! Children of a test: they end with it, by their own id, also where it fails.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that takes moments on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub const DAYFLY: &str = env!("CARGO_BIN_EXE_dayfly");

/// A child whose output goes to a file.
pub struct Process(Child);

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        Self(command.spawn().unwrap())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.0.id()), signal).unwrap();
    }

    /// `kill -9`
    pub fn crash(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// SIGTERM, then its end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        wait_until("the end after SIGTERM", || self.ended().is_some());
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process id as the system's calls take it.
pub fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Looks every 10 ms.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while !ready() {
        assert!(waited < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(step);
        waited += step;
    }
}

/// Every process of the system with its working directory, where it can be read.
pub fn working_in(directory: &Path) -> Vec<u32> {
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
    })
    .collect()
}
