//! Follows a backend's event stream, for ever.
//!
//! An event is a hint: what can't be delivered becomes a broken watch, so that a list follows. Nothing is lost
//! silently, and nothing here blocks the backend.

use std::{sync::Arc, time::Duration};

use dayfly_core::{
    effect::Outcome,
    model::BackendName,
    ports::{Backend, BackendError, BackendErrorKind, InstanceEvent},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    bounded::{Lapse, bounded},
    inbox::Input,
};

/// The first wait before the stream is followed again.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait: an engine restarts within seconds, and jobs that ended meanwhile wait for the list that follows.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// A stream that lasted this long was sound: the next wait is the first again.
const SOUND: Duration = Duration::from_secs(60);

/// Longer than any daemon lives: a stream has no time-out of its own.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// Follows one backend's events until the daemon ends.
pub(crate) async fn watch(
    name: BackendName,
    backend: Arc<dyn Backend>,
    inbox: mpsc::Sender<Input>,
    ending: CancellationToken,
) -> Result<(), String> {
    let mut wait = WAIT_MIN;
    loop {
        let began = Instant::now();
        let Some(error) = follow(&name, &*backend, &inbox, &ending).await else { return Ok(()) };
        debug!(backend = %name, error = %error, "the event stream broke");
        let broke = Outcome::WatchBroke { backend: name.clone(), error: Some(error) };
        if inbox.send(Input::now(broke)).await.is_err() {
            return Ok(());
        }
        if began.elapsed() >= SOUND {
            wait = WAIT_MIN;
        }
        tokio::select! {
            biased;
            () = ending.cancelled() => return Ok(()),
            () = sleep(wait) => wait = (wait * 2).min(WAIT_MAX),
        }
    }
}

/// Follows the stream once; `None` when the daemon ends.
async fn follow(
    name: &BackendName,
    backend: &dyn Backend,
    inbox: &mpsc::Sender<Input>,
    ending: &CancellationToken,
) -> Option<BackendError> {
    // Set when a list is due: the stream began, or an event found the inbox full. Many become one.
    let gap = Notify::new();
    let began = || gap.notify_one();
    let sink = |event| {
        if inbox.try_send(Input::now(outcome(event))).is_err() {
            gap.notify_one();
        }
    };
    let relay = async {
        loop {
            gap.notified().await;
            let broke = Outcome::WatchBroke { backend: name.clone(), error: None };
            if inbox.send(Input::now(broke)).await.is_err() {
                // The controller is gone, and `ending` comes.
                std::future::pending::<()>().await;
            }
        }
    };
    let lapse = tokio::select! {
        biased;
        end = bounded(ending, FOR_EVER, async { backend.watch(&began, &sink).await }) => match end {
            Ok(error) => return Some(error),
            Err(Lapse::Ending) => return None,
            Err(lapse) => lapse,
        },
        () = relay => return None,
    };
    Some(BackendError {
        kind: BackendErrorKind::Transient,
        operation: format!("follow the events of backend {name}"),
        detail: lapse.to_string(),
    })
}

fn outcome(event: InstanceEvent) -> Outcome {
    match event {
        InstanceEvent::Ready(runner) => Outcome::InstanceReady { runner },
        InstanceEvent::Said(runner, sign) => Outcome::Said { runner, sign },
        InstanceEvent::Ended(runner, exit) => Outcome::InstanceEnded { runner, exit },
    }
}
