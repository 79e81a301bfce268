//! The way to the other side: one attempt with its time-out, the short repeats, the bound on requests at once, the
//! counts, and GitHub's clock. Knows no route and no token.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dayfly_core::{
    model::later,
    ports::{Clock, Transport, TransportError},
};
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, time};

use crate::{
    limits::{Bucket, Limits, header, http_date},
    transport::LongPoll,
};

/// GitHub asks for no more than 100 requests at once (protocol.md, 5.5). Polls are not counted: they go to another
/// host and each of them stands for most of a minute.
const AT_ONCE: usize = 100;

/// How long an ordinary call may take. Mints have been seen to take seconds.
const CALL_TIME: Duration = Duration::from_secs(30);

/// How long a poll may take: GitHub holds it for about 50 seconds (protocol.md, 3.3).
const POLL_TIME: Duration = Duration::from_secs(90);

/// The waits before the repeats within a call. What needs longer is the planner's to try again.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];

/// Differences below this are the network and the whole seconds of the `Date` header, not a wrong clock.
const SKEW_MIN: SignedDuration = SignedDuration::from_secs(3);

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Doing it twice is the same as doing it once: repeated after a lost answer and after 5xx.
    Safe,
    /// Repeated only where it was never sent.
    Once,
    /// A long poll: safe, and slow by design.
    Poll,
}

/// The way to the other side.
pub(crate) struct Wire {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    at_once: Semaphore,
    sent: AtomicU64,
    empty_polls: AtomicU64,
    /// GitHub's clock minus ours, in milliseconds.
    skew_ms: AtomicI64,
    limits: Mutex<Limits>,
}

impl Wire {
    pub fn new(transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self {
            transport,
            clock,
            at_once: Semaphore::new(AT_ONCE),
            sent: AtomicU64::new(0),
            empty_polls: AtomicU64::new(0),
            skew_ms: AtomicI64::new(0),
            limits: Mutex::default(),
        }
    }

    /// Sends a request, and repeats it shortly where its manner allows.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        manner: Manner,
    ) -> Result<Response<Bytes>, TransportError> {
        if manner == Manner::Poll {
            request.extensions_mut().insert(LongPoll);
        }
        self.repeat(request, manner, || false).await
    }

    /// Sends a request that counts against a rate limit, and repeats it shortly, but not once another request has met the
    /// limit: GitHub then wants to be left alone.
    pub async fn send_counted(
        &self,
        request: Request<Bytes>,
        bucket: Bucket,
        manner: Manner,
    ) -> Result<Response<Bytes>, TransportError> {
        let limited = || self.limits().refused_until(bucket, self.now()).is_some();
        self.repeat(request, manner, limited).await
    }

    async fn repeat(
        &self,
        request: Request<Bytes>,
        manner: Manner,
        in_vain: impl Fn() -> bool,
    ) -> Result<Response<Bytes>, TransportError> {
        let mut waits = WAITS.into_iter();
        loop {
            let answer = self.attempt(request.clone(), manner).await?;
            match waits.next() {
                Some(wait) if is_worth_repeating(&answer, manner) => time::sleep(wait).await,
                _ => return answer,
            }
            if in_vain() {
                return answer;
            }
        }
    }

    /// One attempt; the outer error is its time-out, which is never repeated: enough time has passed.
    async fn attempt(
        &self,
        request: Request<Bytes>,
        manner: Manner,
    ) -> Result<Result<Response<Bytes>, TransportError>, TransportError> {
        // Never closed; were it, the call would go out unbounded rather than not at all.
        let _permit = if manner == Manner::Poll { None } else { self.at_once.acquire().await.ok() };
        let time = if manner == Manner::Poll { POLL_TIME } else { CALL_TIME };
        let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
        self.sent.fetch_add(1, Ordering::Relaxed);
        let answer = time::timeout(time, self.transport.send(request)).await.map_err(|_| {
            TransportError::NoAnswer {
                host,
                detail: format!("nothing came within {} s", time.as_secs()),
            }
        })?;
        let empty = matches!(&answer, Ok(response) if response.status() == StatusCode::ACCEPTED);
        if manner == Manner::Poll && empty {
            self.empty_polls.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Our clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// GitHub's clock, as far as its answers have told it (F28).
    pub fn github_now(&self) -> Timestamp {
        later(self.now(), self.skew())
    }

    /// GitHub's clock minus ours.
    pub fn skew(&self) -> SignedDuration {
        SignedDuration::from_millis(self.skew_ms.load(Ordering::Relaxed))
    }

    /// Takes in the headers of a REST answer: GitHub's clock and the rate limit.
    pub fn note(&self, bucket: Bucket, headers: &HeaderMap) {
        if let Some(date) = header(headers, "date").and_then(http_date) {
            let skew = date.duration_since(self.now());
            let skew = if skew.abs() < SKEW_MIN { SignedDuration::ZERO } else { skew };
            self.skew_ms.store(i64::try_from(skew.as_millis()).unwrap_or(0), Ordering::Relaxed);
        }
        self.limits().note(bucket, headers, self.skew());
    }

    /// What is known of the rate limits.
    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        locked(&self.limits)
    }

    /// All requests sent, and the polls that came back empty.
    pub fn requests(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.empty_polls.load(Ordering::Relaxed))
    }
}

/// The guard, also after a panic elsewhere: what these locks guard is whole between any two statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a server says itself when to come back (`Retry-After`), half a second is too soon.
fn is_worth_repeating(answer: &Result<Response<Bytes>, TransportError>, manner: Manner) -> bool {
    match answer {
        Ok(response) => {
            manner != Manner::Once
                && response.status().is_server_error()
                && response.status() != StatusCode::NOT_IMPLEMENTED
                && !response.headers().contains_key("retry-after")
        }
        Err(TransportError::Connect { .. }) => true,
        Err(TransportError::Tls { .. }) => false,
        Err(TransportError::NoAnswer { .. }) => manner != Manner::Once,
    }
}
