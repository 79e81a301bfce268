//! The state machine in place: no network, virtual time.

#![expect(clippy::unwrap_used, reason = "a test ends with what it did not expect")]
#![expect(clippy::needless_pass_by_value, reason = "a body is written where it is used")]

mod apps;
mod broker;
mod determinism;
mod driver;
mod errors;
mod faults;
mod hooks;
mod invariants;
mod jobs;
mod limits;
mod messages;
mod rest;
mod sessions;
