//! What reaches the controller, in order of arrival.

use std::sync::Arc;

use dayfly_core::{
    effect::{Command, Outcome},
    model::{Spec, WorkflowJob},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    handle::{NotTaken, Refused},
    view::View,
};

/// How many inputs may wait. A burst of 1,000 runners makes about four at once each (created, minted, ready,
/// handed over). Beyond this, calls wait with their answers, which holds nothing but themselves, and watches
/// coalesce into a list.
pub(crate) const INBOX_MAX: usize = 4_096;

/// How many readers may wait. They are people and scrapers; each is answered between two passes.
pub(crate) const READERS_MAX: usize = 64;

/// How many deliveries may wait for the next commit: what comes in within half a second at the highest rate that is thought of.
/// GitHub waits ten seconds for an answer; beyond this it is told at once to try again.
pub(crate) const EVIDENCE_MAX: usize = 4_096;

/// What a webhook's delivery told.
pub(crate) struct Evidence {
    /// Of which job.
    pub(crate) job: WorkflowJob,
    /// When it was known, before it waited here.
    pub(crate) at: Instant,
    /// Answered once it is committed.
    pub(crate) answer: oneshot::Sender<Result<(), NotTaken>>,
}

/// Something for the controller.
pub(crate) enum Input {
    /// Something happened outside.
    Happened {
        /// What.
        outcome: Outcome,
        /// When it was known, before it waited in the inbox.
        at: Instant,
    },
    /// A user asks for something.
    Asked {
        /// What.
        command: Command,
        /// Answered once it is committed, or refused.
        answer: oneshot::Sender<Result<(), Refused>>,
    },
    /// The same pools make their instances from something else from now on.
    Remade(Arc<Spec>),
    /// The daemon is to end.
    Stop {
        /// Whether busy runners are waited for. The newest word counts.
        await_busy: bool,
        /// Answered once it is committed.
        answer: oneshot::Sender<Result<(), Refused>>,
    },
}

impl Input {
    /// Something that happened just now.
    pub(crate) fn now(outcome: Outcome) -> Self {
        Self::Happened { outcome, at: Instant::now() }
    }
}

/// A look at what the controller knows, run in its task.
pub(crate) type Reader = Box<dyn FnOnce(&View<'_>) + Send>;

/// The controller's ends of its channels.
pub(crate) struct Inbox {
    /// What happened and what is asked.
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// What deliveries tell: apart, so that a flood of them keeps no answer of a call waiting.
    pub(crate) evidence: mpsc::Receiver<Evidence>,
    /// Who wants to look.
    pub(crate) readers: mpsc::Receiver<Reader>,
}
