//! The process that holds a test's noop instances.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::processes::{DAYFLY, pid, wait_until};

/// The process that holds noop instances.
pub struct Load(Child);

impl Load {
    /// Starts it, and waits for its socket.
    pub fn start(socket: &Path, log: &Path) -> Self {
        let child = Command::new(DAYFLY)
            .args(["noop-load", "--listen"])
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        wait_until("the load's socket", || socket.exists());
        Self(child)
    }

    /// Stops or continues it: every call to it waits meanwhile.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(pid(self.0.id()), signal).unwrap();
    }

    /// The instances that hold a registration.
    pub fn instances(&mut self) -> Value {
        writeln!(self.0.stdin.as_mut().unwrap(), "instances").unwrap();
        let mut line = String::new();
        // One line is asked for at a time: nothing stays in the reader.
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
