//! Puts the engine together and starts it.

use std::{io, sync::Arc, time::Duration};

use dayfly_core::{
    model::Spec,
    ports::{Backend, Stored},
    world::World,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tracing::warn;

use crate::{
    commit::{Closed, Committer},
    controller::Controller,
    executor::Executor,
    handle::Handle,
    inbox::{INBOX_MAX, Inbox, READERS_MAX},
    ports::Ports,
    tasks::{TaskDied, Tasks},
    timings::Recorder,
    view::Instruments,
    watch::watch,
};

/// How long abandoned calls and the store's last sync may take after the controller's end.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system has no thread left for the store.
    #[error(
        "cannot start the store's thread; raise the limit of processes (`ulimit -u`, `TasksMax=`)"
    )]
    Thread(#[source] io::Error),
}

/// The running engine.
pub struct Engine {
    handle: Handle,
    closed: Option<Closed>,
}

/// Starts the controller and a watch for each backend. Needs a tokio runtime around it. `stored` is what
/// `ports.store` holds.
///
/// # Errors
/// Where the system has no thread left.
pub fn start(spec: Arc<Spec>, stored: Stored, ports: Ports) -> Result<Engine, StartError> {
    let tasks = Tasks::default();
    let recorder = Recorder::default();
    let (inputs, received) = mpsc::channel(INBOX_MAX);
    let (readers, reading) = mpsc::channel(READERS_MAX);
    let (committer, closed) =
        Committer::new(ports.store, ports.store_driver).map_err(StartError::Thread)?;
    let handle = Handle {
        inputs: inputs.clone(),
        readers,
        wake: Arc::new(Notify::new()),
        tasks: tasks.clone(),
    };
    let capabilities =
        ports.backends.iter().map(|(name, port)| (name.clone(), port.capabilities())).collect();
    let world = World::new(stored, &spec, capabilities, ports.clock.now());
    let executor = Executor::new(
        &ports.forges,
        &ports.backends,
        inputs.clone(),
        ports.clock.clone(),
        recorder.clone(),
        tasks.clone(),
    );
    let controller = Controller::new(
        (spec, world),
        Instruments { clock: ports.clock, forges: ports.forges, recorder, tasks: tasks.clone() },
        Inbox { inputs: received, readers: reading },
        handle.wake.clone(),
        committer,
        executor,
        (ports.ids, ports.events),
    );
    tasks.serve("controller".to_owned(), controller.run());
    for (name, backend) in ports.backends {
        let backend: Arc<dyn Backend> = backend;
        let task = format!("watch {name}");
        tasks.serve(task, watch(name, backend, inputs.clone(), tasks.ending().clone()));
    }
    Ok(Engine { handle, closed })
}

impl Engine {
    /// How the rest of the program speaks with the controller.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Resolves when the engine has ended and its store is closed.
    ///
    /// # Errors
    /// Where a task ended unasked: the process should end non-zero.
    pub async fn ended(self) -> Result<(), TaskDied> {
        let tasks = &self.handle.tasks;
        tasks.ending().cancelled().await;
        let last_words = async {
            tasks.gone().await;
            if let Some(closed) = self.closed {
                // An error is a writer that panicked: the store is closed all the same.
                let _ = closed.await;
            }
        };
        if timeout(LAST_WORDS_MAX, last_words).await.is_err() {
            warn!(
                "calls or the store did not end within {} s: they are abandoned",
                LAST_WORDS_MAX.as_secs()
            );
        }
        tasks.died().map_or(Ok(()), Err)
    }
}
