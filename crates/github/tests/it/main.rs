//! The client against three other sides: the simulated GitHub, the `scaleset` crate's emulator, and scripted answers.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod alone;
mod emulator;
mod faults;
mod fixture;
mod life;
mod limits;
mod odd;
mod programs;
mod runners;
mod scripted;
mod sign_in;
mod transport;
mod webhooks;
