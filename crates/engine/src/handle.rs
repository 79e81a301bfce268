//! How the rest of the program speaks with the controller.

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    effect::Command,
    model::{PoolName, RunnerName, ScopeName, Spec, WorkflowJob},
    ports::{Forge, StoreError},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use crate::{
    inbox::{Evidence, Input, Reader},
    tasks::Tasks,
    view::View,
};

/// The controller has ended: there is nothing to read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is ending")]
pub struct Stopped;

/// A command that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No runner bears that name.
    #[error("no runner is called {0}")]
    NoSuchRunner(RunnerName),
    /// No pool bears that name.
    #[error("no pool is called {0}")]
    NoSuchPool(PoolName),
    /// The command is kept in memory, and takes effect once the store can be written; a restart before that loses it.
    #[error("the command waits for the store, which can't be written")]
    NotStored(#[source] StoreError),
    /// The controller has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Evidence that was not taken: whoever brought it has to bring it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// More comes in than is stored, or more jobs wait than are kept.
    #[error("there is no room for more jobs now")]
    Full,
    /// The store can't be written.
    #[error("the store can't be written")]
    NotStored(#[source] StoreError),
    /// The controller has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Speaks with the controller. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) evidence: mpsc::Sender<Evidence>,
    pub(crate) readers: mpsc::Sender<Reader>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) tasks: Tasks,
    pub(crate) forges: Arc<BTreeMap<ScopeName, Arc<dyn Forge>>>,
}

impl Handle {
    /// Looks at what the controller knows. `look` runs in the controller's task, between two passes or while a commit
    /// is under way: it should take what it needs and leave the rest (rendering) to the caller. Nothing is copied for
    /// it, so that 10,000 runners cost only those who ask for them.
    ///
    /// # Errors
    /// Where the controller has ended.
    pub async fn read<T, F>(&self, look: F) -> Result<T, Stopped>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> T + Send + 'static,
    {
        let (answer, seen) = oneshot::channel();
        let reader: Reader = Box::new(move |view| {
            let _ = answer.send(look(view));
        });
        self.readers.send(reader).await.map_err(|_| Stopped)?;
        seen.await.map_err(|_| Stopped)
    }

    /// Asks for something; answers once it is committed.
    ///
    /// # Errors
    /// Where the runner or pool is not known, the store can't be written, or the controller has ended.
    pub async fn command(&self, command: Command) -> Result<(), Refused> {
        match command {
            Command::Stop => self.stop().await,
            command => self.ask(|answer| Input::Asked { command, answer }).await,
        }
    }

    /// Takes in what a webhook's delivery told of a job, whose signature was checked; answers once it is on disk, or was before. What
    /// comes twice, or late, does no harm.
    ///
    /// # Errors
    /// Where there is no room for it now, the store can't be written, or the controller has ended: the delivery must not be
    /// answered as if it had arrived.
    pub async fn evidence(&self, job: WorkflowJob) -> Result<(), NotTaken> {
        let (answer, answered) = oneshot::channel();
        let evidence = Evidence { job, at: Instant::now(), answer };
        self.evidence.try_send(evidence).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Stopped(Stopped),
        })?;
        answered.await.map_err(|_| Stopped)?
    }

    /// Has the pools make their instances as `spec` says from now on: warm and idle runners that were made from something else
    /// are replaced, busy ones are left. Only what instances are made from may differ from the spec in force.
    ///
    /// # Errors
    /// Where the controller has ended.
    pub async fn remake(&self, spec: Arc<Spec>) -> Result<(), Stopped> {
        self.inputs.send(Input::Remade(spec)).await.map_err(|_| Stopped)
    }

    /// GitHub through a scope's credential, for questions that decide nothing.
    #[must_use]
    pub fn forge(&self, scope: &ScopeName) -> Option<Arc<dyn Forge>> {
        self.forges.get(scope).cloned()
    }

    /// Hints that a pass is worth doing now. Wake-ups coalesce.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends the daemon: no more jobs are taken, sessions are closed, busy instances are left running. Returns when
    /// this has begun; [`crate::Engine::ended`] tells when it is done.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn stop(&self) -> Result<(), Refused> {
        self.ask(|answer| Input::Stop { await_busy: false, answer }).await
    }

    /// Ends the daemon as [`Self::stop`] does, but not before the last busy runner has ended. A [`Self::stop`] after
    /// it ends the waiting.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn drain_all(&self) -> Result<(), Refused> {
        self.ask(|answer| Input::Stop { await_busy: true, answer }).await
    }

    /// Ends everything at once, as a crash would: calls are abandoned, sessions stay open. The next start resolves
    /// what is left.
    pub fn end_now(&self) {
        self.tasks.end();
    }

    async fn ask(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<(), Refused>>) -> Input,
    ) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(ask(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)?
    }
}
