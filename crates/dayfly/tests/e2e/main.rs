//! End to end: the real binary, the simulated GitHub over HTTP, real engines, `kill -9`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod assignment;
mod bad_input;
mod commands;
mod crash;
mod demo;
mod disk;
mod docker;
mod github;
mod kept_full;
mod load;
mod lxd;
mod lxd_away;
#[path = "../../../backends/tests/engines/lxd/members.rs"]
mod lxd_members;
#[path = "../../../backends/tests/engines/lxd/private.rs"]
mod lxd_private;
mod places;
mod processes;
mod scan;
mod site;
mod soak;
mod standing;
mod store;
mod trace;
mod way;
mod webhooks;
