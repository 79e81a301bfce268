//! Puts the engine together and starts it.

use std::{sync::Arc, time::Duration};

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
    commit::Committer,
    controller::Controller,
    executor::Executor,
    handle::Handle,
    inbox::{EVIDENCE_MAX, INBOX_MAX, Inbox, READERS_MAX},
    ports::Ports,
    tasks::{TaskDied, Tasks},
    timings::Recorder,
    view::Instruments,
    watch::watch,
};

/// How long abandoned calls and the store's last sync may take after the controller's end.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// The running engine.
pub struct Engine {
    handle: Handle,
}

/// Starts the controller and a watch for each backend. Needs a tokio runtime around it. `stored` is what
/// `ports.store` holds.
#[must_use]
pub fn start(spec: Arc<Spec>, stored: Stored, ports: Ports) -> Engine {
    let tasks = Tasks::default();
    let recorder = Recorder::default();
    let (inputs, received) = mpsc::channel(INBOX_MAX);
    let (evidence, told) = mpsc::channel(EVIDENCE_MAX);
    let (readers, reading) = mpsc::channel(READERS_MAX);
    let handle = Handle {
        inputs: inputs.clone(),
        evidence,
        readers,
        wake: Arc::new(Notify::new()),
        tasks: tasks.clone(),
        forges: Arc::new(ports.forges.clone()),
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
        Inbox { inputs: received, evidence: told, readers: reading },
        handle.wake.clone(),
        Committer::new(ports.store, ports.store_driver, tasks.clone()),
        executor,
        (ports.ids, ports.events),
    );
    tasks.serve("controller".to_owned(), controller.run());
    for (name, backend) in ports.backends {
        let backend: Arc<dyn Backend> = backend;
        let task = format!("watch {name}");
        tasks.serve(task, watch(name, backend, inputs.clone(), tasks.ending().clone()));
    }
    Engine { handle }
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
        // The store is closed with the controller, or after a commit that the controller's end left behind.
        if timeout(LAST_WORDS_MAX, tasks.gone()).await.is_err() {
            warn!(
                "calls or the store did not end within {} s: they are abandoned",
                LAST_WORDS_MAX.as_secs()
            );
        }
        tasks.died().map_or(Ok(()), Err)
    }
}
