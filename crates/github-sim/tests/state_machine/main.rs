//! The state machine in place: no network, virtual time.

mod apps;
mod broker;
mod determinism;
mod driver;
mod errors;
mod faults;
mod jobs;
mod limits;
mod messages;
mod rest;
mod sessions;
