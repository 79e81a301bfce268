//! One daemon per store: an advisory lock on `<db>.lock`, held for the daemon's life.
//!
//! The kernel frees it with the process, however that ends. The file stays: removing it would let two daemons hold
//! locks on two files of one name.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use dayfly_core::{
    planted::{Bug, planted},
    ports::{StoreError, StoreErrorKind},
};

use crate::{error::Name, place};

/// More digits than any process id has: what else the file may hold is not read.
const PID_BYTES_MAX: u64 = 20;

/// How often a lock that somebody has is asked for, and how long in between: a second in all. A daemon that is killed while it starts
/// a program leaves its open files, and so the lock, to that child until the child's `exec`, and a service manager may start the
/// next daemon at once.
const TRIES_MAX: u32 = 51;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The lock. Dropping it frees the store.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the database at `path`, which must be canonical: two names of one file must meet here.
    pub(crate) fn take(path: &Path, name: &Name) -> Result<Self, StoreError> {
        let beside = place::beside(path, ".lock");
        let failed = name.io("lock", &beside);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(&failed)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if planted(Bug::StoreLockIgnored) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => return Err(held(&file, name)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        // The pid is for people; a full disk must not keep a daemon from a store that needs no room.
        let told = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        match told {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Ok(Self { _file: file })
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn held(file: &File, name: &Name) -> StoreError {
    let mut text = String::new();
    let read = file.take(PID_BYTES_MAX).read_to_string(&mut text);
    let who = match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("another dayfly (process {pid})"),
        _ => "another dayfly".to_owned(),
    };
    name.error(
        "lock",
        StoreErrorKind::Locked,
        format!("{who} has it; stop that one, or name another file for this one in `store`"),
    )
}
