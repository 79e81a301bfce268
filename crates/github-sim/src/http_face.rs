//! The HTTP face: puts a [`Sim`] behind a listener, on the wall clock, and wakes held requests. Decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::Answer;
use crate::courier;
use crate::ids::HoldId;
use crate::options::SimConfig;
use crate::payload::{Cut, Dropped, Payload};
use crate::sim::Sim;

/// Largest request body: far above any real one, and a bound on memory.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A running server. Dropping it stops it; [`Server::stop`] also waits.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at or changes the state in process; held requests that this concerns are answered.
    pub fn with<T>(&self, act: impl FnOnce(&mut Sim, Timestamp) -> T) -> T {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        inner.sim.tick(now);
        let result = act(&mut inner.sim, now);
        self.shared.settle(&mut inner, now);
        self.shared.deadline.notify_one();
        result
    }

    /// Ends all connections and waits for it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves a new [`Sim`] on the listener. Must be called in a tokio runtime.
///
/// # Errors
/// When the listener has no local address.
pub fn serve(listener: TcpListener, config: SimConfig) -> std::io::Result<Server> {
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared::new(config));
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let couriers = courier::Clients::new().map_err(std::io::Error::other)?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep_time(shared.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(deliver(couriers, shared.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(accept(
        listener,
        shared.clone(),
        stop.clone(),
        tasks.clone(),
    )));
    Ok(Server { address, shared, stop, tasks })
}

struct Shared {
    inner: Mutex<Inner>,
    /// Woken when the next deadline may have changed.
    deadline: Notify,
    /// Woken when a delivery of a webhook may be due.
    deliveries: Notify,
    started: (Timestamp, Instant),
}

struct Inner {
    sim: Sim,
    waiters: BTreeMap<HoldId, oneshot::Sender<Answer>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Inner {
    /// Answers the held requests that were woken; an answer may wake others.
    fn settle(&mut self, now: Timestamp) {
        loop {
            let woken = self.sim.take_woken();
            if woken.is_empty() {
                return;
            }
            for id in woken {
                if !self.waiters.contains_key(&id) {
                    continue;
                }
                if let Some(answer) = self.sim.held(now, id) {
                    // A delay after a poll holds the same caller again under another id.
                    let waiter = self.waiters.remove(&id);
                    match (answer, waiter) {
                        (Answer::Hold(next), Some(waiter)) => {
                            self.waiters.insert(next, waiter);
                        }
                        // The caller may have gone in the meantime: its guard cleans up.
                        (answer, Some(waiter)) => drop(waiter.send(answer)),
                        (_, None) => {}
                    }
                }
            }
        }
    }
}

impl Shared {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the simulation meets the wall clock"
    )]
    fn new(config: SimConfig) -> Self {
        Self {
            inner: Mutex::new(Inner { sim: Sim::new(config), waiters: BTreeMap::new() }),
            deadline: Notify::new(),
            deliveries: Notify::new(),
            started: (Timestamp::now(), Instant::now()),
        }
    }

    /// Wall time at the start plus time that passed: never backwards.
    fn now(&self) -> Timestamp {
        let passed =
            SignedDuration::try_from(self.started.1.elapsed()).unwrap_or(SignedDuration::ZERO);
        self.started.0.checked_add(passed).unwrap_or(self.started.0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was locked is a bug that the test run shows; the state is still the best there is.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody hear what concerns them: callers that are held, and webhooks.
    fn settle(&self, inner: &mut Inner, now: Timestamp) {
        inner.settle(now);
        if inner.sim.has_deliveries() {
            self.deliveries.notify_one();
        }
    }

    fn handle(
        &self,
        request: &Request<Bytes>,
    ) -> Result<Answer, (HoldId, oneshot::Receiver<Answer>)> {
        let now = self.now();
        let mut inner = self.lock();
        let answer = inner.sim.handle(now, request);
        let result = match answer {
            Answer::Hold(id) => {
                let (sender, receiver) = oneshot::channel();
                inner.waiters.insert(id, sender);
                Err((id, receiver))
            }
            answer => Ok(answer),
        };
        self.settle(&mut inner, now);
        drop(inner);
        self.deadline.notify_one();
        result
    }

    fn abandon(&self, receiver: &oneshot::Receiver<Answer>, id: HoldId) {
        if receiver.is_terminated() {
            return;
        }
        let now = self.now();
        let mut inner = self.lock();
        // The hold may have moved on to another id: then the sender is found by its closed channel.
        let gone: Vec<HoldId> = inner
            .waiters
            .range(id..)
            .filter(|(_, waiter)| waiter.is_closed())
            .map(|(id, _)| *id)
            .collect();
        for id in gone.into_iter().chain([id]) {
            inner.waiters.remove(&id);
            inner.sim.abandon(now, id);
        }
        self.settle(&mut inner, now);
    }
}

/// Lets time pass in the simulation.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().sim.next_deadline();
        let changed = shared.deadline.notified();
        match next {
            None => changed.await,
            Some(at) => {
                let wait =
                    Duration::try_from(at.duration_since(shared.now())).unwrap_or(Duration::ZERO);
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(wait) => {
                        let now = shared.now();
                        let mut inner = shared.lock();
                        inner.sim.tick(now);
                        shared.settle(&mut inner, now);
                    }
                }
            }
        }
    }
}

/// Sends deliveries of webhooks, side by side.
async fn deliver(clients: courier::Clients, shared: Arc<Shared>) {
    let mut under_way = JoinSet::new();
    loop {
        let free = courier::AT_ONCE.saturating_sub(under_way.len());
        for outgoing in shared.lock().sim.take_deliveries(free) {
            let (clients, id) = (clients.clone(), outgoing.id);
            under_way.spawn(async move { (id, clients.send(outgoing).await) });
        }
        // Both are cancel safe. Where all places are taken, only an end makes room.
        tokio::select! {
            Some(sent) = under_way.join_next(), if !under_way.is_empty() => {
                if let Ok((id, status)) = sent {
                    let now = shared.now();
                    let mut inner = shared.lock();
                    inner.sim.delivered(now, id, status);
                    inner.settle(now);
                }
            }
            () = shared.deliveries.notified(), if under_way.len() < courier::AT_ONCE => {}
        }
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tasks.spawn(
                    stop.clone().run_until_cancelled_owned(connection(stream, shared.clone())),
                );
            }
            Err(error) => {
                // Out of file descriptors, most likely: others may free some.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are written whole: waiting for more to send only costs time.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = hyper::service::service_fn(|request| answer(shared.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

struct Caller<'a> {
    shared: &'a Shared,
    id: HoldId,
    receiver: oneshot::Receiver<Answer>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        self.shared.abandon(&self.receiver, self.id);
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Dropped)?.to_bytes();
    let answer = match shared.handle(&Request::from_parts(parts, body)) {
        Ok(answer) => answer,
        Err((id, receiver)) => {
            let mut caller = Caller { shared: &shared, id, receiver };
            (&mut caller.receiver).await.map_err(|_| Dropped)?
        }
    };
    match answer {
        Answer::Respond(response) => {
            Ok(response.map(|data| Payload { data: Some(data), cut: Cut::No }))
        }
        Answer::Truncate(mut response, bytes) => {
            let length = HeaderValue::from(response.body().len());
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
            Ok(response
                .map(|data| Payload { data: Some(data.slice(..bytes)), cut: Cut::AfterFlush }))
        }
        Answer::Drop | Answer::Hold(_) => Err(Dropped),
    }
}
