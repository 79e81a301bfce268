//! The store on SQLite: one writer, one daemon, every commit synced.
//!
//! Holds what must outlive the daemon (runners, pools, jobs, troubles, the controller's id and clock) and no secret.
//! It is the log of what was decided, never the read path: the daemon loads it once and changes it by commits. This
//! crate decides nothing: it never looks into a row beyond what `load` needs to name a damaged one.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests fail by panicking"))]

mod checkup;
mod copy;
mod error;
mod lock;
mod memory_lock;
mod place;
mod rows;
mod schema;
mod sqlite;
mod vacant;

pub use checkup::Checkup;
pub use copy::back_up;
pub use memory_lock::{MemoryHold, MemoryLock};
pub use sqlite::{Counts, Sqlite};
pub use vacant::Vacant;
