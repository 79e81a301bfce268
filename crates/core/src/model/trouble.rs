//! Failures remembered as data: how often, until when, and what the other side said.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BackendName, PoolName, ScopeName};

/// What is in trouble.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum TroubleKey {
    /// Making runners of a pool on a backend from an image (by its mark).
    Creation {
        /// The pool.
        pool: PoolName,
        /// The backend.
        backend: BackendName,
        /// [`super::InstanceSpec::mark`].
        mark: Arc<str>,
    },
    /// Listing a backend's instances or following its events.
    Backend {
        /// The backend.
        backend: BackendName,
    },
    /// Making instances on a backend, of whatever pool: calls that fail for no reason of the pool's.
    Creates {
        /// The backend.
        backend: BackendName,
    },
    /// GitHub's refusals of a scope's credential.
    Credential {
        /// The scope.
        scope: ScopeName,
    },
    /// The rate limit of a scope's credential: it holds up what asks the REST API, and nothing that asks the Actions service,
    /// which does not count there.
    RateLimit {
        /// The scope.
        scope: ScopeName,
    },
    /// A pool's scale set and session.
    ScaleSet {
        /// The pool.
        pool: PoolName,
    },
}

/// How many failures in a row pause creation.
pub const FAILURES_TO_PAUSE: u32 = 3;

/// The longest wait between two attempts.
const WAIT_MAX: SignedDuration = SignedDuration::from_mins(5);

/// How long a refusal for want of room tells how much room there is: longer than two attempts are apart.
const FULL_TIME: SignedDuration = SignedDuration::from_mins(10);

/// After so many attempts that worked there is room again, whatever was refused before.
const WORKED_MAX: u32 = 6;

/// How many characters of the other side's words are kept.
const WORDS_MAX: usize = 2_000;

/// Failures in a row, and when the next attempt is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// When the first of them happened.
    pub since: Timestamp,
    /// When the last of them happened. An attempt begun before it proves nothing new.
    pub last_at: Timestamp,
    /// No attempt before this time.
    pub next_attempt_at: Timestamp,
    /// What failed and what the other side said, at most 2,000 characters.
    pub error: String,
    /// How many attempts worked since the last failure, where that was for want of room: what has room for one more may have
    /// none for all that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked: Option<u32>,
}

impl Trouble {
    /// The next failure after `before`: the wait doubles from `first_wait` to at most five minutes.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        first_wait: SignedDuration,
        error: &str,
        now: Timestamp,
    ) -> Self {
        let failures = before.map_or(0, |trouble| trouble.failures).saturating_add(1);
        let doublings = (failures - 1).min(16);
        let wait = first_wait.saturating_mul(1 << doublings).min(WAIT_MAX);
        Self {
            failures,
            since: before.map_or(now, |trouble| trouble.since),
            last_at: now,
            next_attempt_at: later(now, wait),
            error: error.chars().take(WORDS_MAX).collect(),
            worked: None,
        }
    }

    /// The same trouble, of something that has no room.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.worked = Some(0);
        self
    }

    /// Whether it was want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.worked.is_some()
    }

    /// Until when a refusal for want of room, if it was one, tells how much room there is.
    #[must_use]
    pub fn full_until(&self) -> Option<Timestamp> {
        self.worked.map(|_| later(self.last_at, FULL_TIME))
    }

    /// How many attempts may be under way at once, once the next is due.
    #[must_use]
    pub fn attempts_max(&self, now: Timestamp) -> u32 {
        match self.worked {
            Some(_) if self.full_until().is_none_or(|until| until <= now) => u32::MAX,
            Some(worked) => 1_u32.checked_shl(worked).unwrap_or(u32::MAX),
            None if self.failures >= FAILURES_TO_PAUSE => 1,
            None => u32::MAX,
        }
    }

    /// What is left of the trouble after an attempt that was begun after its last failure worked: where there was no room,
    /// twice as many are tried next.
    #[must_use]
    pub fn after_success(mut self, now: Timestamp) -> Option<Self> {
        let worked = self.worked?.saturating_add(1);
        self.worked = Some(worked);
        self.failures = 1;
        self.next_attempt_at = now;
        (worked < WORKED_MAX).then_some(self)
    }

    /// The same trouble after the clock was set back to `now`: what is left of the wait stays.
    #[must_use]
    pub fn not_after(mut self, now: Timestamp) -> Self {
        if self.last_at > now {
            let wait = self.next_attempt_at.duration_since(self.last_at);
            self.last_at = now;
            self.since = self.since.min(now);
            self.next_attempt_at = later(now, wait);
        }
        self
    }

    /// The same trouble, with the next attempt at `until` (what a rate limit says).
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.next_attempt_at = until;
        self
    }
}

/// `now + wait`, at the end of time where it would overflow.
#[must_use]
pub fn later(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
