//! The daemon's end of the socket: many calls at once on one connection, which is made again when it broke.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use dayfly_core::model::ControllerId;
use futures_util::StreamExt;
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::wire::{Answer, Call, Event, Refusal, Request, Told, line};

/// The longest line, in bytes: a list of 100,000 instances.
const LINE_MAX: usize = 32 << 20;

/// How many bytes are gathered into one write.
const WRITE_MAX: usize = 64 << 10;

/// What is waited for on a connection; `None` once it broke.
type Waiting = Arc<Mutex<Option<Expected>>>;

#[derive(Default)]
struct Expected {
    last_id: u64,
    answers: HashMap<u64, oneshot::Sender<Result<Answer, Refusal>>>,
    /// Who follows the events. At most six events an instance, so no bound is needed beside their number.
    events: Option<mpsc::UnboundedSender<Event>>,
}

/// Why a call got no answer of its own.
pub(super) enum Broken {
    /// It was not sent.
    Before,
    /// It was, and the connection broke.
    After,
}

/// A connection to the host.
pub(super) struct Link {
    /// As many as calls are under way, which who calls bounds.
    calls: mpsc::UnboundedSender<String>,
    waiting: Waiting,
    _stop: DropGuard,
}

impl Link {
    pub(super) async fn connect(path: &Path, tasks: &TaskTracker) -> io::Result<Self> {
        let (read, write) = UnixStream::connect(path).await?.into_split();
        let waiting: Waiting = Arc::new(Mutex::new(Some(Expected::default())));
        let stop = CancellationToken::new();
        let (calls, written) = mpsc::unbounded_channel();
        let (stopped, read_by) = (stop.clone(), Arc::clone(&waiting));
        tasks.spawn(async move {
            tokio::select! {
                () = hear(read, &read_by) => {}
                () = speak(write, written) => {}
                () = stopped.cancelled() => {}
            }
            // Dropped with it: every waiting answer and the events, whose receivers so learn of the break.
            read_by.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Ok(Self { calls, waiting, _stop: stop.drop_guard() })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Makes a call.
    pub(super) async fn call(
        &self,
        controller: ControllerId,
        call: Call,
    ) -> Result<Result<Answer, Refusal>, Broken> {
        let (tell, answered) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let expected = waiting.as_mut().ok_or(Broken::Before)?;
            expected.last_id += 1;
            expected.answers.insert(expected.last_id, tell);
            expected.last_id
        };
        let text = line(&Request { id, controller, call });
        self.calls.send(text).map_err(|_| Broken::Before)?;
        answered.await.map_err(|_| Broken::After)
    }

    /// Takes the events of this connection from now on.
    pub(super) fn events(&self) -> mpsc::UnboundedReceiver<Event> {
        let (tell, events) = mpsc::unbounded_channel();
        if let Some(expected) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            expected.events = Some(tell);
        }
        events
    }
}

async fn hear(read: OwnedReadHalf, waiting: &Waiting) {
    let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(LINE_MAX));
    while let Some(Ok(text)) = lines.next().await {
        let Ok(told) = serde_json::from_str(&text) else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(expected) = waiting.as_mut() else { return };
        match told {
            Told::Answer { id, result } => {
                if let Some(tell) = expected.answers.remove(&id) {
                    // Who asked may have given up.
                    let _ = tell.send(result);
                }
            }
            Told::Event(event) => {
                if let Some(tell) = &expected.events {
                    let _ = tell.send(event);
                }
            }
        }
    }
}

/// Writes what is sent, gathered: a thousand calls are a few writes.
pub(super) async fn speak(mut write: OwnedWriteHalf, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(mut text) = lines.recv().await {
        while text.len() < WRITE_MAX
            && let Ok(next) = lines.try_recv()
        {
            text.push_str(&next);
        }
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
