//! What reaches the controller, in order of arrival.

use dayfly_core::effect::{Command, Outcome};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{handle::Refused, view::View};

/// How many inputs may wait. A burst of 1,000 runners makes about four at once each (created, minted, ready,
/// handed over). Beyond this, calls wait with their answers, which holds nothing but themselves, and watches
/// coalesce into a list.
pub(crate) const INBOX_MAX: usize = 4_096;

/// How many readers may wait. They are people and scrapers; each is answered between two passes.
pub(crate) const READERS_MAX: usize = 64;

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
    /// Who wants to look.
    pub(crate) readers: mpsc::Receiver<Reader>,
}
