//! What is said in the log of requests that were refused: not a line for each, for anyone can send them.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

/// A line at most this often.
const EVERY: Duration = Duration::from_secs(10);

/// Requests that were refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    newest_line: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// Notes one, and says so now and then.
    pub fn note(&self, peer: IpAddr, status: u16, why: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.newest_line.is_some_and(|at| at.elapsed() < EVERY) {
            state.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut state.unsaid);
        state.newest_line = Some(Instant::now());
        warn!(%peer, status, unsaid, "a webhook was refused: {why}");
    }
}
