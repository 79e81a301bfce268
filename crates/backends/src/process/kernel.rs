//! What the kernel tells of processes.

use std::{fs, os::fd::OwnedFd};

use dayfly_core::model::RunnerName;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup;

/// The variable by which every process of an instance is known, unless it clears its environment.
pub(super) const MARK: &str = "DAYFLY_RUNNER";

/// The kernel's mark of this start of the machine.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A process, told from every other one of the same number by when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    state: char,
    session: i32,
    /// In clock ticks since the machine started.
    began: u64,
}

impl Stat {
    /// Reads a line of `/proc/PID/stat` (proc_pid_stat(5)).
    pub(super) fn parse(line: &str) -> Option<Self> {
        let pid = line.split_whitespace().next()?.parse().ok()?;
        // The program's name stands in parentheses and may hold anything.
        let rest: Vec<&str> = line.get(line.rfind(')')? + 1..)?.split_whitespace().collect();
        Some(Self {
            pid,
            state: rest.first()?.chars().next()?,
            session: rest.get(3)?.parse().ok()?,
            began: rest.get(19)?.parse().ok()?,
        })
    }

    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.pid, self.began) == (other.pid, other.began)
    }

    /// Whether this very process is there, and not only its zombie.
    pub(super) fn lives(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.is_same(self) && !"ZX".contains(now.state))
    }

    /// A handle on this very process; `None` where it has ended.
    pub(super) fn handle(&self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // The handle is of whoever bears the number now: it must still be the one that was meant.
        self.lives().then_some(handle)
    }

    fn kill(&self) {
        if let Some(handle) = self.handle() {
            // A process that ended meanwhile is what was wanted.
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
    }
}

/// Kills every process of an instance that can be found now; gives how many there were.
pub(super) fn kill_all(runner: &RunnerName, keeper: Option<&Stat>) -> usize {
    cgroup::kill(runner);
    let members = members(runner, keeper);
    for member in &members {
        member.kill();
    }
    members.len()
}

/// The living processes that are provably of an instance: in its control group, in the session that its keeper leads,
/// or marked with its name.
fn members(runner: &RunnerName, keeper: Option<&Stat>) -> Vec<Stat> {
    let in_group = cgroup::members(runner);
    let mark = format!("{MARK}={runner}");
    // A session's number is not given again while a process bears it, so only a living keeper proves the session.
    let session = keeper.filter(|keeper| keeper.lives()).map(|keeper| keeper.pid);
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(Stat::of)
        .filter(|stat| !"ZX".contains(stat.state))
        .filter(|stat| {
            in_group.contains(&stat.pid)
                || Some(stat.session) == session
                || is_marked(stat.pid, &mark)
        })
        .collect()
}

fn is_marked(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_its_namesake() {
        let own = Stat::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.lives() && own.handle().is_some());
        let namesake = Stat { began: own.began + 1, ..own.clone() };
        assert!(!namesake.lives() && namesake.handle().is_none());
    }

    #[test]
    fn odd_names_do_not_confuse() {
        let line = "7 (a) S 1 (b) R 1 2 3 0 -1 4 5 6 7 8 9 10 11 12 13 14 15 16 1234 18";
        let read = Stat::parse(line).unwrap();
        assert_eq!((read.pid, read.state, read.session, read.began), (7, 'R', 3, 1234));
        for odd in ["", "7", "7 (a", "7 (a)", "x (a) R 1 2 3", "7 (a) R 1 2 3"] {
            assert_eq!(Stat::parse(odd), None, "{odd}");
        }
    }
}
