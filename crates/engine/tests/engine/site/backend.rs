//! An engine.

use dayfly_core::{
    model::{Capacity, ControllerId, InstanceId, InstanceSpec, RunnerName},
    ports::{
        Backend, BackendError, BackendErrorKind, BoxFuture, Capabilities, CreateRequest, Created,
        Finding, HandOver, InstanceRecord, InstanceStatus, JitConfig, WatchSink,
    },
};
use tokio::sync::mpsc;

use super::{Made, Site, controller};

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Create calls never return, and make nothing.
    CreateHangs,
    /// Create calls panic, once.
    CreatePanics,
    /// Its event stream panics, once.
    WatchPanics,
}

/// One engine of the site.
pub struct FakeBackend {
    site: Site,
    name: String,
}

impl FakeBackend {
    pub fn new(site: Site, name: &str) -> Self {
        Self { site, name: name.to_owned() }
    }

    fn fault(&self, fault: Fault) -> bool {
        self.site.state().faults.get(&self.name) == Some(&fault)
    }

    fn records(&self) -> Vec<InstanceRecord> {
        let state = self.site.state();
        let ours = state.instances.iter().filter(|(_, made)| made.backend == self.name);
        ours.map(|(runner, made)| record(runner, made)).collect()
    }
}

fn record(runner: &RunnerName, made: &Made) -> InstanceRecord {
    InstanceRecord {
        runner: runner.clone(),
        id: id(runner),
        status: made.status.clone(),
        created_at: None,
    }
}

fn id(runner: &RunnerName) -> InstanceId {
    InstanceId(format!("id-{runner}").into())
}

impl Backend for FakeBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hand_over: HandOver::Push,
            creates_max: 4,
            ready_in_four_minutes: 10,
            boots_fast: true,
            names_are_unique: true,
        }
    }

    fn controller(&self) -> ControllerId {
        controller()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceRecord>, BackendError>> {
        Box::pin(async {
            self.site.note(format!("list {}", self.name));
            Ok(self.records())
        })
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>> {
        Box::pin(async {
            self.site.note(format!("measure {}", self.name));
            Ok(Capacity { cpu_millis: 4_000, memory_bytes: 8 << 30 })
        })
    }

    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>> {
        Box::pin(async move {
            self.site.note(format!("inspect {runner}"));
            Ok(self.site.state().instances.get(runner).map(|made| record(runner, made)))
        })
    }

    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>> {
        self.site.note(format!("create {}", request.runner));
        if self.fault(Fault::CreatePanics) {
            self.site.state().faults.remove(&self.name);
            panic!("a bug in the adapter");
        }
        Box::pin(async move {
            if self.fault(Fault::CreateHangs) {
                std::future::pending::<()>().await;
            }
            let made = Made { backend: self.name.clone(), status: InstanceStatus::Running };
            self.site.state().instances.insert(request.runner.clone(), made);
            Ok(Created { id: id(request.runner), ready: true })
        })
    }

    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        _id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.site.note(format!("hand-over {runner}"));
            assert_eq!(jit.expose(), format!("jit-{runner}"), "another runner's configuration");
            self.site.start_runner(runner.clone());
            Ok(())
        })
    }

    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        _force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.site.note(format!("destroy {runner}"));
            self.site.state().instances.remove(runner);
            Ok(())
        })
    }

    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(async move {
            self.site.note(format!("watch {}", self.name));
            if self.fault(Fault::WatchPanics) {
                self.site.state().faults.remove(&self.name);
                panic!("a bug in the stream");
            }
            let (sender, mut events) = mpsc::unbounded_channel();
            self.site.state().watchers.insert(self.name.clone(), sender);
            began();
            while let Some(burst) = events.recv().await {
                for event in burst {
                    sink(event);
                }
            }
            BackendError {
                kind: BackendErrorKind::Unreachable,
                operation: format!("follow the events of {}", self.name),
                detail: "the connection was closed".into(),
            }
        })
    }

    fn console<'a>(
        &'a self,
        _runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn check<'a>(&'a self, _spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async { Vec::new() })
    }
}
