//! Time, randomness and the event log, as ports.

use jiff::Timestamp;

use crate::model::{Event, Suffix};

/// Steady time: the wall clock at start plus what a monotonic clock saw elapse.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Where new names come from.
pub trait Ids: Send {
    /// A suffix that was not given before, but for chance (50 bits).
    fn suffix(&mut self) -> Suffix;
}

/// Where events go. Must not block.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: &Event);
}
