//! What was asked and what was answered. Holds credential ids, never a token; control calls are not in it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::ids::CredentialId;
use crate::moment;
use crate::route::Kind;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Position since the start; entries that were dropped leave a gap at the front.
    pub number: u64,
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Name of the route, as faults and counters use it.
    pub route: &'static str,
    /// Who calls this route.
    pub kind: Kind,
    /// The status answered; `None` while held, or when the connection was dropped.
    pub status: Option<u16>,
    /// Unix seconds.
    pub received_at: f64,
    /// Unix seconds; `None` while held.
    pub answered_at: Option<f64>,
    /// The credential that the caller proved to have.
    pub credential: Option<CredentialId>,
    /// Names of the faults that applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<&'static str>,
}

/// A route's counters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counter {
    /// Requests received.
    pub requests: u64,
    /// Answers by status; 0 counts dropped connections and polls that the caller gave up.
    pub statuses: BTreeMap<u16, u64>,
    /// Who calls this route.
    pub kind: Option<Kind>,
}

/// The bounded list and the counters, which never drop.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    next: u64,
    counters: BTreeMap<&'static str, Counter>,
}

impl Journal {
    pub fn begin(&mut self, entry: Entry, max: usize) -> u64 {
        let counter = self.counters.entry(entry.route).or_default();
        counter.requests += 1;
        counter.kind = Some(entry.kind);
        let number = self.next;
        self.next += 1;
        self.entries.push_back(Entry { number, ..entry });
        while self.entries.len() > max {
            self.entries.pop_front();
        }
        number
    }

    pub fn end(&mut self, number: u64, route: &'static str, status: Option<u16>, now: Timestamp) {
        *self
            .counters
            .entry(route)
            .or_default()
            .statuses
            .entry(status.unwrap_or(0))
            .or_default() += 1;
        if let Some(entry) = self.entry(number) {
            entry.status = status;
            entry.answered_at = Some(moment::unix(now));
        }
    }

    /// The entry, unless it was dropped.
    pub fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let dropped = self.next - self.entries.len() as u64;
        let index = number.checked_sub(dropped)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    pub fn since(&self, number: u64) -> impl Iterator<Item = &Entry> {
        let dropped = self.next - self.entries.len() as u64;
        let skip = usize::try_from(number.saturating_sub(dropped)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip)
    }

    pub fn counters(&self) -> &BTreeMap<&'static str, Counter> {
        &self.counters
    }
}
