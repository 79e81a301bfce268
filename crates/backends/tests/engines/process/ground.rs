//! Where the tests' processes live, and how their remains are found.

use std::{fs, path::PathBuf, process::Command};

use dayfly_backends::process::{Process, ProcessOptions};
use dayfly_core::model::{ControllerId, InstanceSpec};
use tempfile::TempDir;

/// A directory of instances that ends with the test, and the processes in it too.
pub struct Ground {
    home: TempDir,
}

impl Ground {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub fn directory(&self) -> PathBuf {
        self.home.path().join("instances")
    }

    pub fn connect(&self, controller: ControllerId) -> Process {
        Process::new(&ProcessOptions { directory: self.directory() }, controller).unwrap()
    }

    /// Processes that have to do with this ground, by their environment.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("HOME={}", self.directory().canonicalize().unwrap().display());
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let of_ours = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable.starts_with(mark.as_bytes()))
        };
        pids.filter(of_ours).collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let left = self.processes();
        for pid in &left {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        if !left.is_empty() && !std::thread::panicking() {
            panic!("processes were left behind: {left:?}");
        }
    }
}

/// An instance that runs a shell script.
pub fn shell(script: &str) -> InstanceSpec {
    InstanceSpec {
        image: "/bin/sh".to_owned(),
        command: ["-c", script].map(str::to_owned).to_vec(),
        ..InstanceSpec::default()
    }
}
