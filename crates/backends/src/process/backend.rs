//! The port's face of plain processes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
};

use dayfly_core::{
    model::{Capacity, ControllerId, InstanceId, InstanceSpec, RunnerName},
    ports::{
        Backend, BackendError, BoxFuture, Capabilities, CreateRequest, Created, Finding, HandOver,
        InstanceRecord, JitConfig, WatchSink,
    },
};

use super::{
    capacity, check, create, destroy,
    directory::{Directory, runners, sweep},
    fault, hand_over, tail, watch,
};
use crate::console::CONSOLE_LINES;

/// A create copies a directory and starts a shell: more at once than processors only make the disk wait.
const CREATES_MAX: u32 = 16;

/// Twenty-eight creates a second were measured on two busy processors with an executable as image; copying a runner
/// program of 200 MB may take a second where the file system knows no hard links, which is what is promised.
const READY_IN_FOUR_MINUTES: u32 = 240;

/// Where the instances stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessOptions {
    /// A directory of dayfly's own, made where it is absent; each instance is a directory in it.
    pub directory: PathBuf,
}

/// Plain processes of this host.
#[derive(Debug, Clone)]
pub struct Process {
    pub(super) controller: ControllerId,
    pub(super) root: PathBuf,
}

impl Process {
    /// Makes the directory, for its owner alone, and removes what an old crash left half made in it.
    ///
    /// # Errors
    /// Where the directory can't be made or is not ours alone to write.
    pub fn new(options: &ProcessOptions, controller: ControllerId) -> Result<Self, BackendError> {
        let operation = "open the directory of instances";
        let given = &options.directory;
        let failed = |error| fault::on_file(operation, given, &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(given).map_err(failed)?;
        // Whole, since the instances' processes work elsewhere.
        let root = given.canonicalize().map_err(failed)?;
        let mode = fs::metadata(&root).map_err(failed)?.permissions().mode();
        if mode & 0o022 != 0 {
            let detail = format!("{}: others may write in it: chmod go-w it", root.display());
            let kind = dayfly_core::ports::BackendErrorKind::NotAllowed;
            return Err(crate::failure::failure(kind, operation, detail));
        }
        sweep(&root, controller);
        Ok(Self { controller, root })
    }

    /// Every controller that has instances in the directory, and how many. Changes nothing.
    ///
    /// # Errors
    /// Where the directory or a tag can't be read. No directory is no instance.
    pub fn controllers(
        options: &ProcessOptions,
    ) -> Result<BTreeMap<ControllerId, usize>, BackendError> {
        let root = &options.directory;
        let runners =
            runners(root).map_err(|error| fault::on_file("list instances", root, &error))?;
        let mut counts = BTreeMap::new();
        for runner in runners {
            if let Some(tag) = Directory::new(root, &runner).tag()? {
                *counts.entry(tag.controller).or_insert(0) += 1;
            }
        }
        Ok(counts)
    }

    pub(super) fn directory(&self, runner: &RunnerName) -> Directory {
        Directory::new(&self.root, runner)
    }

    /// Every instance of this controller. One that is removed while the list is made is not of it.
    pub(super) fn records(&self) -> Result<Vec<InstanceRecord>, BackendError> {
        let runners = runners(&self.root)
            .map_err(|error| fault::on_file("list instances", &self.root, &error))?;
        let mut records = Vec::new();
        for runner in runners {
            records.extend(self.directory(&runner).record(self.controller)?);
        }
        Ok(records)
    }
}

impl Backend for Process {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hand_over: HandOver::Push,
            creates_max: CREATES_MAX,
            ready_in_four_minutes: READY_IN_FOUR_MINUTES,
            boots_fast: true,
            names_are_unique: true,
        }
    }

    fn controller(&self) -> ControllerId {
        self.controller
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceRecord>, BackendError>> {
        Box::pin(async { self.records() })
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>> {
        Box::pin(async { capacity::capacity() })
    }

    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>> {
        Box::pin(async { self.directory(runner).record(self.controller) })
    }

    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>> {
        Box::pin(create::create(self, request))
    }

    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        _id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            hand_over::hand_over(&self.directory(runner), self.controller, &jit).await
        })
    }

    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        _force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        // Forced or not, the processes are killed: there is nothing stronger.
        Box::pin(async { destroy::destroy(&self.directory(runner), self.controller).await })
    }

    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(watch::watch(self, began, sink))
    }

    fn console<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>> {
        Box::pin(async {
            let directory = self.directory(runner);
            Ok(match directory.record(self.controller)? {
                Some(_) => tail::last(&directory.console(), CONSOLE_LINES),
                None => Vec::new(),
            })
        })
    }

    fn check<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(check::check(self, spec))
    }
}
