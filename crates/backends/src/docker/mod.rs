//! Docker, and what speaks its API (Podman): an instance is a container.
//!
//! Everything is asked of the engine anew: no list of containers is kept here, so a restart loses nothing. A container
//! is touched only where its label names this controller.

mod backend;
mod capacity;
mod check;
mod connection;
mod contexts;
mod create;
mod credentials;
mod destroy;
mod endpoint;
mod error;
mod hand_over;
mod images;
mod network;
mod output;
mod records;
mod survey;
mod template;
mod watch;

pub use backend::Docker;
pub use endpoint::{DockerOptions, TlsFiles};
