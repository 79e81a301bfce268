//! Plain processes of this host: an instance is a directory and a session of processes.
//!
//! **This is no isolation**: a job sees the host's files, processes and network as the user that dayfly runs as. What
//! there is keeps jobs apart by accident only: a directory, a clean environment, a session and, where one can be made,
//! a control group of their own.
//!
//! All that is known stands in the instance's directory and in `/proc`, so that a daemon that comes back knows as much
//! as the one that left. A process is touched only where the kernel proves it to be of an instance of this controller.

mod backend;
mod capacity;
mod cgroup;
mod check;
mod create;
mod destroy;
mod directory;
mod fault;
mod hand_over;
mod kernel;
mod populate;
mod tail;
mod watch;

pub use backend::{Process, ProcessOptions};
