//! The way to GitHub: the `Transport` port, with the state machine called in place.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dayfly_core::ports::{BoxFuture, Transport, TransportError};
use dayfly_github_sim::{Answer, HoldId};
use http::{Request, Response};
use tokio::{sync::oneshot, time::sleep};

use super::{Life, Outside};

/// One life's way to GitHub.
pub(crate) struct SimTransport {
    pub(crate) outside: Arc<Outside>,
    pub(crate) life: Life,
}

/// A held call; dropping it tells GitHub that nobody waits any more.
struct Held<'a> {
    outside: &'a Outside,
    id: HoldId,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.outside.lock();
        state.abandon(self.id);
        state.settle_github();
        self.outside.ring(&mut state);
    }
}

enum Step {
    Dead,
    Answer(Answer),
    Wait(HoldId, oneshot::Receiver<Answer>),
}

impl SimTransport {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let Some((sent, going, coming)) = self.latencies() else { return never().await };
        if !going.is_zero() {
            sleep(going).await;
        }
        let mut answer = match self.step(&request, sent) {
            Step::Dead => return never().await,
            Step::Answer(answer) => answer,
            Step::Wait(id, receiver) => match self.wait(id, receiver).await {
                Some(answer) => answer,
                None => return never().await,
            },
        };
        // A delay after the execution is another hold.
        while let Answer::Hold(id) = answer {
            let receiver = self.hold(id);
            match self.wait(id, receiver).await {
                Some(next) => answer = next,
                None => return never().await,
            }
        }
        let Some(arrives) = self.arrives(coming) else { return never().await };
        if !arrives.is_zero() {
            sleep(arrives).await;
        }
        if !self.outside.lock().is_alive(self.life) {
            return never().await;
        }
        let lost = |detail: &str| TransportError::NoAnswer {
            host: "sim.test".to_owned(),
            detail: detail.to_owned(),
        };
        match answer {
            Answer::Respond(response) => Ok(response),
            Answer::Truncate(..) => Err(lost("the answer broke off")),
            Answer::Drop | Answer::Hold(_) => Err(lost("the connection was reset")),
        }
    }

    /// When it is now, and how long the request and its answer take.
    fn latencies(&self) -> Option<(Duration, Duration, Duration)> {
        let mut state = self.outside.alive(self.life)?;
        let whole = state.latency();
        // Most of the way is the way back: what is asked now is mostly asked in this state of affairs.
        let going = if state.latencies.u8(..4) == 0 { whole / 2 } else { Duration::ZERO };
        Some((state.now(), going, whole))
    }

    /// How long it takes from now until the answer is there, at a tick.
    fn arrives(&self, coming: Duration) -> Option<Duration> {
        let state = self.outside.alive(self.life)?;
        Some(state.after(coming).saturating_sub(state.now()))
    }

    fn step(&self, request: &Request<Bytes>, sent: Duration) -> Step {
        let Some(mut state) = self.outside.alive(self.life) else { return Step::Dead };
        if self.outside.dies(&mut state, "before a call on GitHub") {
            return Step::Dead;
        }
        let answer = state.ask_github(self.life, sent, request);
        let step = match answer {
            Answer::Hold(id) => {
                let (sender, receiver) = oneshot::channel();
                state.hold_call(id, sender);
                Step::Wait(id, receiver)
            }
            other => Step::Answer(other),
        };
        state.settle_github();
        self.outside.ring(&mut state);
        if self.outside.dies(&mut state, "after a call on GitHub") { Step::Dead } else { step }
    }

    fn hold(&self, id: HoldId) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.outside.lock();
        state.hold_call(id, sender);
        self.outside.ring(&mut state);
        receiver
    }

    async fn wait(&self, id: HoldId, receiver: oneshot::Receiver<Answer>) -> Option<Answer> {
        let held = Held { outside: &self.outside, id };
        let answer = receiver.await.ok();
        drop(held);
        answer.filter(|_| self.outside.lock().is_alive(self.life))
    }
}

/// What a dead daemon gets for an answer.
pub(super) async fn never<T>() -> T {
    std::future::pending().await
}

impl Transport for SimTransport {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(self.exchange(request))
    }
}
