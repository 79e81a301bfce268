//! Logs for people and the event log for programs.
//!
//! Both go through bounded queues to threads of their own: a slow disk or a stuck terminal delays nothing, and what is
//! dropped is counted and said. No secret ever reaches this crate: the types that hold one neither print nor
//! serialise.

mod chain;
mod event_log;
mod logs;
mod queue;

pub use chain::Chain;
pub use event_log::{EventLog, EventLogError};
pub use logs::{Format, InitError, Logs, init};
