//! An instance's directory: what stands in it, and what that tells.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use dayfly_core::{
    model::{ControllerId, Exit, InstanceId, PoolName, RunnerName},
    ports::{BackendError, BackendErrorKind, InstanceRecord, InstanceStatus},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    cgroup, fault,
    kernel::{self, Stat},
    tail,
};
use crate::{console::LAST_OUTPUT_LINES, failure::failure};

/// What a directory's name begins with while the directory is being made or removed. No process is of it.
const HALF: &str = ".half-";

/// How long a directory has such a name at most: for a few calls of the system, even on a slow disk.
const HALF_TIME_MAX: Duration = Duration::from_mins(10);

/// No file of ours that is read whole comes near this size, in bytes.
const FILE_MAX: u64 = 64 << 10;

/// Whose instance it is. Written before anything else, and removed after everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) controller: ControllerId,
    pub(super) pool: PoolName,
    pub(super) runner: RunnerName,
    /// The kernel's mark of this start of the machine: an instance of an earlier one has ended.
    pub(super) boot: String,
}

/// The directory of a runner's instance, whether or not there is one.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) runner: RunnerName,
    pub(super) path: PathBuf,
    half: PathBuf,
}

impl Directory {
    pub(super) fn new(root: &Path, runner: &RunnerName) -> Self {
        let path = root.join(runner.as_str());
        Self { runner: runner.clone(), path, half: root.join(format!("{HALF}{runner}")) }
    }

    /// Where the runner's program is and works.
    pub(super) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// For temporary files, so that they go with the instance.
    pub(super) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// The fifo that the waiter reads.
    pub(super) fn input(&self) -> PathBuf {
        self.path.join("input")
    }

    /// Made by the waiter once it has its registration.
    pub(super) fn received(&self) -> PathBuf {
        self.path.join("received")
    }

    /// What the instance says.
    pub(super) fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    /// Makes the directory with its tag, in one step for whoever looks.
    pub(super) fn make(&self, tag: &Tag) -> io::Result<()> {
        remove(&self.half)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.half)?;
        fs::write(self.half.join("tag.json"), serde_json::to_vec(tag)?)?;
        // Where the directory is there already, this fails: it is never empty.
        fs::rename(&self.half, &self.path)
    }

    /// Removes the directory, its tag last, so that a crash on the way leaves something that is known as ours.
    pub(super) fn remove(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return remove(&self.half),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name() != "tag.json" {
                remove(&entry.path())?;
            }
        }
        remove(&self.half)?;
        fs::rename(&self.path, &self.half)?;
        remove(&self.half)
    }

    /// The tag; `None` where there is no directory.
    pub(super) fn tag(&self) -> Result<Option<Tag>, BackendError> {
        let file = self.path.join("tag.json");
        let operation = format!("read the tag of {}", self.runner);
        match read(&file) {
            Ok(text) => serde_json::from_slice(text.as_bytes()).map(Some).map_err(|error| {
                failure(
                    BackendErrorKind::NotAllowed,
                    operation,
                    format!("{}: {error}", file.display()),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path.exists() => {
                Ok(None)
            }
            Err(error) => Err(fault::on_file(&operation, &file, &error)),
        }
    }

    /// The keeper's first state, as the keeper wrote it down; `None` where it has not yet.
    pub(super) fn start(&self) -> Option<Stat> {
        Stat::parse(&read(&self.path.join("start")).ok()?)
    }

    /// The state of the instance, where it is of this controller.
    pub(super) fn record(
        &self,
        controller: ControllerId,
    ) -> Result<Option<InstanceRecord>, BackendError> {
        let Some(tag) =
            self.tag()?.filter(|tag| tag.controller == controller && tag.runner == self.runner)
        else {
            return Ok(None);
        };
        let start = self.start();
        let status = match &start {
            None if tag.boot == kernel::boot() => InstanceStatus::Booting,
            Some(stat) if tag.boot == kernel::boot() && stat.lives() => InstanceStatus::Running,
            _ => InstanceStatus::Ended(self.exit(&tag)),
        };
        let created_at =
            fs::metadata(self.path.join("tag.json")).and_then(|metadata| metadata.modified()).ok();
        Ok(Some(InstanceRecord {
            runner: self.runner.clone(),
            id: self.id(&tag),
            status,
            created_at: created_at.and_then(|at| Timestamp::try_from(at).ok()),
        }))
    }

    /// The id: the name is given once, and the boot tells a process from one that bears its number later.
    pub(super) fn id(&self, tag: &Tag) -> InstanceId {
        InstanceId(format!("{}@{}", self.runner, tag.boot).into())
    }

    /// How the instance ended, once its keeper lives no more.
    pub(super) fn exit(&self, tag: &Tag) -> Exit {
        let code: Option<i64> =
            read(&self.path.join("exit")).ok().and_then(|text| text.trim().parse().ok());
        let error = match code {
            Some(_) => None,
            None if tag.boot != kernel::boot() => Some("the machine was restarted".to_owned()),
            None => Some("it was killed before it could write its exit code down".to_owned()),
        };
        Exit {
            code,
            out_of_memory: cgroup::killed_for_memory(&self.runner),
            error,
            last_output: tail::last(&self.console(), LAST_OUTPUT_LINES),
        }
    }
}

/// The runners that have a directory here, whosever they are.
pub(super) fn runners(root: &Path) -> io::Result<Vec<RunnerName>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        match RunnerName::new(name) {
            Ok(runner) => found.push(runner),
            Err(_) => tracing::warn!(
                name,
                "what stands among the instances has no runner's name: left alone"
            ),
        }
    }
    Ok(found)
}

/// Removes what crashes left half made or half removed, once it is older than any making or removing takes.
pub(super) fn sweep(root: &Path, controller: ControllerId) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let runner = name.to_str().and_then(|name| RunnerName::new(name.strip_prefix(HALF)?).ok());
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|modified| modified.elapsed().ok());
        if runner.is_some_and(|runner| runner.is_of(controller))
            && age.is_some_and(|age| age > HALF_TIME_MAX)
            && let Err(error) = remove(&entry.path())
        {
            let path = entry.path();
            tracing::warn!(path = %path.display(), %error, "a half-made instance could not be removed");
        }
    }
}

fn read(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
    }
    fs::read_to_string(file)
}

/// Removes a file or a tree, also one that a job made read-only; absent is success.
fn remove(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes every directory of a tree writable, as package caches are not.
fn open_up(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
