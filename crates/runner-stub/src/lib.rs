//! Stands in for GitHub's runner program against the simulated GitHub: its contract, without its weight.
//!
//! It takes a just-in-time configuration, connects, prints the lines that the real runner prints, runs one job by shell and ends with
//! the real runner's exit codes. It speaks plain HTTP only and must never be pointed at the real GitHub. It lies in the measured path
//! from "queued" to "first step", so it does nothing before the first step that the step does not need.
//!
//! [`JitConfig`] and [`Broker`] are public so that a load generator can play many runners without processes.

mod broker;
mod channel;
mod exit;
mod jit;
mod job;
mod key;
mod listener;
mod message;
mod wrapper;

pub use broker::{Broker, BrokerError};
pub use exit::Exit;
pub use jit::{JitConfig, JitError};
pub use message::{JobBody, Message, Step, StepResult};
pub use wrapper::{StubArgs, listen, main};
