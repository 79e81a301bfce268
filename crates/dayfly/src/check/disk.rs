//! The store's place: there, writable, with room, and used by one daemon at most. Changes nothing.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use dayfly_core::ports::Finding;
use dayfly_store::Checkup;

use crate::failure::Code;

/// Less room than this holds no day of a busy daemon.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Everything about the store's file.
pub fn findings(store: &Path) -> Vec<Finding> {
    let mut findings = vec![writable(store)];
    if let Some(finding) = room(store) {
        findings.push(finding);
    }
    if store.exists() {
        findings.push(readable(store));
        findings.push(alone(store));
    }
    findings
}

fn finding(result: Result<String, String>) -> Finding {
    Finding { what: "store".to_owned(), result, exit_code: Code::Store as u8 }
}

/// The nearest directory above the store that exists: the daemon makes what is missing below it.
fn nearest(store: &Path) -> PathBuf {
    let above = store.ancestors().skip(1).find(|path| path.is_dir());
    above
        .filter(|path| !path.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn writable(store: &Path) -> Finding {
    let directory = nearest(store);
    let probe = directory.join(format!(".dayfly-check-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|file| file.sync_all());
    let removed = written.and_then(|()| std::fs::remove_file(&probe));
    finding(match removed {
        Ok(()) => Ok(format!("{} can be written", directory.display())),
        Err(error) => {
            let remedy =
                "let the user that runs dayfly write there, or name another place in `store`";
            Err(format!("{} can't be written: {error}; {remedy}", directory.display()))
        }
    })
}

fn room(store: &Path) -> Option<Finding> {
    let directory = nearest(store);
    let stat = rustix::fs::statvfs(&directory).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let mib = free >> 20;
    Some(finding(if free < FREE_BYTES_MIN {
        Err(format!(
            "{} has {mib} MiB free: free some space, or name another place in `store`",
            directory.display()
        ))
    } else {
        Ok(format!("{} has {mib} MiB free", directory.display()))
    }))
}

fn readable(store: &Path) -> Finding {
    let place = store.display();
    finding(match Checkup::of(store) {
        Ok(Checkup { runners, jobs, problems, .. }) => match problems.first() {
            None => Ok(format!("{place} is in order and holds {runners} runners and {jobs} jobs")),
            Some(problem) => Err(format!("{place} is damaged: {problem}; {}", Checkup::remedy())),
        },
        Err(error) => Err(error.to_string()),
    })
}

/// Whether a daemon holds the lock. One that does is no fault: it may be the one whose configuration is checked.
fn alone(store: &Path) -> Finding {
    let mut beside = store.as_os_str().to_owned();
    beside.push(".lock");
    let held = File::open(beside)
        .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    finding(Ok(if held { "a daemon uses it now" } else { "no daemon uses it now" }.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_judged_without_changing_it() {
        let home = tempfile::tempdir().unwrap();
        let check = |store: &Path, wrong: usize| {
            let findings = findings(store);
            assert_eq!(
                findings.iter().filter(|finding| finding.result.is_err()).count(),
                wrong,
                "{findings:?}"
            );
        };
        check(&home.path().join("a/b/dayfly.db"), 0);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        // Neither room nor a file can be had there.
        check(Path::new("/proc/dayfly.db"), 2);
        let damaged = home.path().join("damaged.db");
        std::fs::write(&damaged, "no store at all, but long enough to be read as one").unwrap();
        check(&damaged, 1);
    }
}
