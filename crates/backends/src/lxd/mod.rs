//! LXD, and Incus, which speaks the same API: an instance is a system container or a virtual machine.
//!
//! Everything is asked of the server anew: no list of instances is kept here, so a restart loses nothing. An instance is
//! touched only where its configuration names this controller.
//!
//! Instances are not ephemeral in LXD's sense. LXD deletes such a one the moment it stops, and with it the exit code and
//! the last output, which its keeper writes into the instance: they are read from the stopped instance, which then stays
//! until it is destroyed.

mod address;
mod backend;
mod capacity;
mod check;
mod client;
mod cluster;
mod console;
mod create;
mod destroy;
mod error;
mod events;
mod fence;
mod files;
mod guest;
mod hand_over;
mod image;
mod mirror;
mod program;
#[cfg(test)]
mod provision_tests;
mod records;
mod survey;
mod template;
mod tls;
mod trust;
mod watch;
mod wire;

pub use address::{LxdOptions, LxdRemote, LxdServer, Product};
pub use backend::Lxd;
pub use trust::trust;
