//! Every task of the engine, in one tracker: named, watched, and ended together.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error};

use crate::bounded::panic_text;

/// How a named task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum TaskStatus {
    /// It runs.
    Running,
    /// It ended when it was asked to.
    Ended,
    /// It ended unasked, which is a fault of this program.
    Died {
        /// What it said.
        why: String,
    },
}

/// A task that ended unasked. The process should end with it, non-zero: a half-alive daemon helps nobody, and a
/// restart reads everything anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "task `{name}` ended unasked: {why}; running instances are left as they are, start the daemon again"
)]
pub struct TaskDied {
    /// Which.
    pub name: String,
    /// What it said.
    pub why: String,
}

/// The tracker, and the signal by which everything ends.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    ending: CancellationToken,
    named: Arc<Mutex<Named>>,
}

#[derive(Default)]
struct Named {
    status: BTreeMap<String, TaskStatus>,
    died: Option<TaskDied>,
}

impl Tasks {
    /// Starts a task that serves until the end. An error, a panic or a return before the end is a death, and ends
    /// all.
    pub(crate) fn serve<F>(&self, name: String, task: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let tasks = self.clone();
        tasks.set(&name, TaskStatus::Running);
        self.tracker.spawn(async move {
            let end = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) if tasks.ending.is_cancelled() => Ok(()),
                Ok(Ok(())) => Err("it returned".to_owned()),
                Ok(Err(why)) => Err(why),
                Err(panic) => Err(format!("it panicked: {}", panic_text(panic.as_ref()))),
            };
            tasks.ended(name, end);
        });
    }

    /// Starts a call: it is waited for at the end, and has no name. It must not panic: [`crate::bounded`] sees to
    /// that.
    pub(crate) fn call(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(call);
    }

    /// Starts a blocking call on a thread for such: it is waited for at the end.
    pub(crate) fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn_blocking(call)
    }

    /// Ends everything at the next chance.
    pub(crate) fn end(&self) {
        self.ending.cancel();
        self.tracker.close();
    }

    /// Whose cancellation ends everything.
    pub(crate) fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Waits until no task is left. Needs [`Self::end`].
    pub(crate) async fn gone(&self) {
        self.tracker.wait().await;
    }

    /// The first task that died, if any did.
    pub(crate) fn died(&self) -> Option<TaskDied> {
        self.with(|named| named.died.clone())
    }

    /// How each named task is.
    pub(crate) fn status(&self) -> BTreeMap<String, TaskStatus> {
        self.with(|named| named.status.clone())
    }

    fn ended(&self, name: String, end: Result<(), String>) {
        match end {
            Ok(()) => {
                debug!(task = name, "task ended");
                self.set(&name, TaskStatus::Ended);
            }
            Err(why) => {
                error!(task = name, why, "task ended unasked: the daemon ends");
                self.set(&name, TaskStatus::Died { why: why.clone() });
                self.with(|named| {
                    named.died.get_or_insert(TaskDied { name, why });
                });
                self.end();
            }
        }
    }

    fn set(&self, name: &str, status: TaskStatus) {
        self.with(|named| named.status.insert(name.to_owned(), status));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Named) -> T) -> T {
        look(&mut self.named.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(
        task: impl Future<Output = Result<(), String>> + Send + 'static,
        why: Option<&str>,
    ) {
        let tasks = Tasks::default();
        tasks.serve("one".to_owned(), task);
        if why.is_none() {
            tasks.end();
        }
        tasks.gone().await;
        assert!(tasks.ending().is_cancelled());
        assert_eq!(tasks.died().map(|died| died.why), why.map(str::to_owned));
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_ends_all() {
        check(async { Ok(()) }, Some("it returned")).await;
        check(async { Err("no disk".to_owned()) }, Some("no disk")).await;
        check(async { panic!("a bug") }, Some("it panicked: a bug")).await;
    }

    #[tokio::test]
    async fn a_task_that_ends_when_asked_is_no_death() {
        check(async { Ok(()) }, None).await;
    }
}
