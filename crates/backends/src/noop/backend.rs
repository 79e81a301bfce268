//! The port's face of instances that are none.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use dayfly_core::{
    model::{Capacity, ControllerId, InstanceId, InstanceSpec, RunnerName},
    ports::{
        Backend, BackendError, BackendErrorKind, BoxFuture, Capabilities, CreateRequest, Created,
        Finding, HandOver, InstanceRecord, InstanceStatus, JitConfig, WatchSink,
    },
};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::{
    link::{Broken, Link},
    wire::{Answer, Call, Record},
};
use crate::failure::failure;

/// Instances in another process, by its socket.
pub struct Noop {
    path: PathBuf,
    controller: ControllerId,
    link: Mutex<Option<Arc<Link>>>,
    tasks: TaskTracker,
}

impl Noop {
    /// Names the socket; it is connected to when it is first needed, and again when the connection broke.
    #[must_use]
    pub fn connect(path: impl Into<PathBuf>, controller: ControllerId) -> Self {
        Self { path: path.into(), controller, link: Mutex::new(None), tasks: TaskTracker::new() }
    }

    /// Every controller that has instances there, and how many.
    ///
    /// # Errors
    /// Where the other process can't be reached.
    pub async fn controllers(&self) -> Result<BTreeMap<ControllerId, usize>, BackendError> {
        let operation = "ask for controllers".to_owned();
        match self.call(operation.clone(), Call::Controllers).await? {
            Answer::Controllers(counts) => Ok(counts),
            _ => Err(odd(operation)),
        }
    }

    async fn link(&self, operation: &str) -> Result<Arc<Link>, BackendError> {
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| !link.is_broken()) {
            return Ok(Arc::clone(link));
        }
        let link = Link::connect(&self.path, &self.tasks).await.map_err(|error| {
            failure(
                BackendErrorKind::Unreachable,
                operation,
                format!("{}: {error}", self.path.display()),
            )
        })?;
        Ok(Arc::clone(held.insert(Arc::new(link))))
    }

    async fn call(&self, operation: String, call: Call) -> Result<Answer, BackendError> {
        let link = self.link(&operation).await?;
        match link.call(self.controller, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(failure(refusal.kind.into(), operation, refusal.words)),
            Err(Broken::Before) => {
                Err(failure(BackendErrorKind::Unreachable, operation, "the connection broke"))
            }
            Err(Broken::After) => {
                Err(failure(BackendErrorKind::Unknown, operation, "the connection broke"))
            }
        }
    }

    async fn records(
        &self,
        operation: String,
        call: Call,
    ) -> Result<Vec<InstanceRecord>, BackendError> {
        match self.call(operation.clone(), call).await? {
            Answer::Records(records) => Ok(records.into_iter().map(instance).collect()),
            _ => Err(odd(operation)),
        }
    }

    async fn follow(
        &self,
        began: &(dyn Fn() + Send + Sync),
        sink: WatchSink<'_>,
    ) -> Result<(), BackendError> {
        let operation = "follow the events";
        let link = self.link(operation).await?;
        let mut events = link.events();
        match link.call(self.controller, Call::Watch).await {
            Ok(Ok(_)) => began(),
            Ok(Err(refusal)) => return Err(failure(refusal.kind.into(), operation, refusal.words)),
            Err(_) => return Ok(()),
        }
        while let Some(event) = events.recv().await {
            sink(event.into());
        }
        Ok(())
    }
}

/// The name is given once, so it serves as the id too.
fn id(runner: &RunnerName) -> InstanceId {
    InstanceId(runner.as_str().into())
}

fn instance(record: Record) -> InstanceRecord {
    InstanceRecord {
        id: id(&record.runner),
        runner: record.runner,
        status: record.exit.map_or(InstanceStatus::Running, InstanceStatus::Ended),
        created_at: None,
    }
}

fn odd(operation: String) -> BackendError {
    failure(
        BackendErrorKind::Unknown,
        operation,
        "the other process answered something else than was asked",
    )
}

impl Backend for Noop {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hand_over: HandOver::Push,
            creates_max: 1_024,
            ready_in_four_minutes: 100_000,
            boots_fast: true,
            names_are_unique: true,
        }
    }

    fn controller(&self) -> ControllerId {
        self.controller
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceRecord>, BackendError>> {
        Box::pin(self.records("list instances".to_owned(), Call::List))
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>> {
        Box::pin(async {
            let detail = "it has neither processors nor memory: write the budget as numbers";
            Err(failure(
                BackendErrorKind::NotAllowed,
                "ask the other process how much it has",
                detail,
            ))
        })
    }

    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>> {
        Box::pin(async move {
            let found =
                self.records(format!("inspect {runner}"), Call::Inspect(runner.clone())).await?;
            Ok(found.into_iter().next())
        })
    }

    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>> {
        Box::pin(async move {
            let operation = format!("create {}", request.runner);
            match self.call(operation.clone(), Call::Create(request.runner.clone())).await? {
                Answer::Created { ended } => Ok(Created { id: id(request.runner), ready: !ended }),
                _ => Err(odd(operation)),
            }
        })
    }

    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        _id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let call =
                Call::HandOver { runner: runner.clone(), registration: jit.expose().to_owned() };
            self.call(format!("hand over to {runner}"), call).await.map(drop)
        })
    }

    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        _force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.call(format!("destroy {runner}"), Call::Destroy(runner.clone())).await.map(drop)
        })
    }

    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(async move {
            let broke =
                failure(BackendErrorKind::Unreachable, "follow the events", "the connection broke");
            self.follow(began, sink).await.err().unwrap_or(broke)
        })
    }

    fn console<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>> {
        Box::pin(async move {
            Ok(match self.inspect(runner).await?.map(|record| record.status) {
                Some(InstanceStatus::Ended(exit)) => exit.last_output,
                _ => Vec::new(),
            })
        })
    }

    fn check<'a>(&'a self, _spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async {
            let listed = self.list().await;
            let result = listed
                .map(|list| format!("{} instances", list.len()))
                .map_err(|error| error.to_string());
            vec![Finding {
                what: "reach the process that plays the runners".to_owned(),
                result,
                exit_code: 5,
            }]
        })
    }
}
