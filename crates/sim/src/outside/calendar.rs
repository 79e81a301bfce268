//! What will happen outside, and when.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use dayfly_core::model::RunnerName;
use dayfly_github_sim::{Conclusion, DeliveryId, FaultId, JobId, SetId};
use http::Request;

/// Something that will happen.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// An instance's waiter is ready.
    Booted(usize, u64),
    /// The runner in an instance connects to GitHub.
    Connects(usize, u64),
    /// A runner renews its lock.
    Renews(usize, u64, JobId),
    /// A runner ends its job.
    JobEnds(usize, u64, JobId, Conclusion),
    /// A runner's process ends.
    Exits(usize, u64, &'static str),
    /// A create call of long ago has its effect.
    CreatedLate(usize, RunnerName),
    /// An engine answers again.
    EngineBack(usize),
    /// The disk has room again.
    DiskHasRoom,
    /// A fault of GitHub ends.
    FaultEnds(Vec<FaultId>),
    /// A webhook's delivery arrives.
    Delivery(DeliveryId, Arc<Request<Bytes>>),
    /// Somebody else polls for the messages of our set, until then.
    ForeignPolls(SetId, Duration),
    /// Somebody else deletes their scale set.
    ForeignSetGoes(SetId),
}

/// What will happen, in order of time, then of when it was decided.
#[derive(Default)]
pub(crate) struct Calendar {
    entries: BTreeMap<(Duration, u64), Happening>,
    next: u64,
}

impl Calendar {
    pub(crate) fn put(&mut self, at: Duration, what: Happening) {
        self.entries.insert((at, self.next), what);
        self.next += 1;
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Happening> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
