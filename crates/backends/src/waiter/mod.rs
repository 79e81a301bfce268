//! The waiter: a small script in every instance that takes one registration and becomes the runner.
//!
//! The registration travels on standard input alone: never in an argument, a file that stays, or the environment of
//! anything but the runner's own process.

mod message;

pub(crate) use message::{DEFAULT_COMMAND, RECEIVED, SCRIPT, message};
