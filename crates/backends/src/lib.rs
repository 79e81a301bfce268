//! The engines that make instances: Docker, LXD, plain processes and noop.
//!
//! Each module implements [`dayfly_core::ports::Backend`] over one engine. None of them decides anything, none keeps
//! state that a restart could lose, and none touches what does not bear its controller's tag.

#[cfg(any(feature = "docker", feature = "lxd", feature = "process"))]
mod console;
mod failure;
#[cfg(any(feature = "docker", feature = "lxd", feature = "process"))]
mod waiter;

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "lxd")]
pub mod lxd;
#[cfg(feature = "noop")]
#[doc(hidden)]
pub mod noop;
#[cfg(feature = "process")]
pub mod process;
