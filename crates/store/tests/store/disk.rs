//! A disk that is full, or can't be written, on a real file system of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use dayfly_core::ports::{Store, StoreErrorKind};
use dayfly_store::Sqlite;
use tempfile::TempDir;

use crate::rows::{at, controller, everything, runner, runner_name, runners};

/// A file system in memory, unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    fn mount(size: &str) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        disk.run(Command::new("mount").args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={size}"),
            "dayfly-test",
        ]));
        disk
    }

    fn run(&self, command: &mut Command) {
        let status = command.arg(self.0.path()).status().unwrap();
        assert!(status.success(), "{command:?}: {status}");
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("dayfly.db")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Takes all room that is left.
fn fill(path: &Path) {
    let filled = std::fs::write(path, vec![7; 64 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
#[ignore = "mounts a file system: needs root"]
fn a_full_disk_stores_nothing_and_heals() {
    let disk = Disk::mount("4m");
    let ballast = disk.0.path().join("ballast");
    let mut store = Sqlite::open(&disk.store(), controller()).unwrap();
    store.commit(&everything()).unwrap();
    let before = store.load().unwrap();
    fill(&ballast);
    let mut batch = runners((10..2_000).map(|number| (runner_name(number), Some(runner(number)))));
    batch.clock = Some(at(50));
    for _ in 0..3 {
        let error = store.commit(&batch).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
        assert!(error.detail.contains("free space"), "{error}");
        assert_eq!(store.load().unwrap(), before);
    }
    std::fs::remove_file(&ballast).unwrap();
    store.commit(&batch).unwrap();
    let after = store.load().unwrap();
    assert_eq!(after.runners.len(), before.runners.len() + 1_990);
    drop(store);

    // A daemon that starts on a full disk says so, or works; the next one finds all.
    fill(&ballast);
    match Sqlite::open(&disk.store(), controller()) {
        Ok(mut store) => assert_eq!(store.load().unwrap(), after),
        Err(error) => assert_eq!(error.kind, StoreErrorKind::Full, "{error}"),
    }
    let fresh = Sqlite::open(&disk.0.path().join("fresh.db"), controller()).unwrap_err();
    assert_eq!(fresh.kind, StoreErrorKind::Full, "{fresh}");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(Sqlite::open(&disk.store(), controller()).unwrap().load().unwrap(), after);
    Sqlite::open(&disk.0.path().join("fresh.db"), controller()).unwrap();
}

#[test]
#[ignore = "mounts a file system: needs root"]
fn a_read_only_file_system_is_told() {
    let disk = Disk::mount("4m");
    Sqlite::open(&disk.store(), controller()).unwrap().commit(&everything()).unwrap();
    disk.run(Command::new("mount").args(["-o", "remount,ro"]));
    for path in [disk.store(), disk.0.path().join("fresh.db"), disk.0.path().join("a/b.db")] {
        let error = Sqlite::open(&path, controller()).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::ReadOnly, "{error}");
        assert!(error.detail.contains("another place"), "{error}");
    }
}
