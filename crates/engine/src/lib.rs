//! The loop: observe, plan, commit, execute.
//!
//! One controller task owns the [`dayfly_core::world::World`] and talks to everything else through bounded channels.
//! It applies what happened, runs a pass, commits the pass's batch, and only then begins its effects. Effects and
//! watches run in tasks of their own and answer through the controller's inbox, so a sick scope or backend costs the
//! others nothing. What is to be done is decided in `core`; nothing is decided here that a planner's test could
//! show. Holding no lock across a call, and giving exactly one outcome for each effect that occupies a flight, are
//! this crate's duties.

mod bounded;
mod calls;
mod clock;
mod commit;
mod controller;
mod executor;
mod handle;
mod inbox;
mod ports;
mod start;
mod tasks;
mod timings;
mod vault;
mod view;
mod watch;

pub use clock::SteadyClock;
pub use handle::{Handle, NotTaken, Refused, Stopped};
pub use ports::{Ports, StoreDriver};
pub use start::{Engine, start};
pub use tasks::{TaskDied, TaskStatus};
pub use timings::{Spread, Timings};
pub use view::{ScopeUse, View};
