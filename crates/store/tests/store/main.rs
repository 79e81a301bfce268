//! The store from outside: its contract, its file, and what happens when disk, daemon or file fail.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod checkup;
mod contract;
mod copies;
mod crash;
mod disk;
mod opening;
mod rows;
mod versions;
