//! The engine on a small world outside, with virtual time on one thread.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod commits;
mod evidence;
mod life;
mod shutdown;
mod sickness;
mod site;
mod watches;
