//! The API and the HTTP endpoint over real sockets, before a real engine that has no GitHub and no backends.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod commands;
mod daemon;
mod documents;
mod hostile;
mod intake;
mod socket;
