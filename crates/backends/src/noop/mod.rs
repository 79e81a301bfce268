//! Instances that are none, for measurements: they live in another process, which plays the runners.
//!
//! Every call is a real one over a unix socket, and the instances outlive the daemon, so that what is measured is the
//! daemon and nothing of an engine. Not for use: nothing runs a job here.

mod backend;
mod host;
mod link;
mod wire;

pub use backend::Noop;
pub use host::{EventSender, Host, Player};
