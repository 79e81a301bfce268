//! Years of dayfly in minutes: one seed drives the real planner, engine, store and GitHub client, on virtual time in one thread,
//! against a stateful GitHub, stateful engines, a disk, and every fault that is known of them; and checks dayfly's promises
//! after every step.
//!
//! The same seed gives the same log, to the byte. A run that breaks a promise is shrunk to a script that can be read.

mod campaign;
mod checks;
mod daemon;
mod dials;
mod driver;
mod explain;
mod generate;
mod log;
#[cfg(feature = "mutants")]
mod mutants;
mod outside;
mod quiet;
mod scenario;
mod shrink;
mod stock;
mod text;

pub use campaign::{Campaign, Tally, Total};
pub use checks::{Check, Violation};
pub use dials::{Dial, Dials};
pub use driver::{Report, run};
pub use generate::generate;
#[cfg(feature = "mutants")]
pub use mutants::{Hunt, hunt};
pub use scenario::{
    EngineCall, EngineFault, EnginePlan, GithubFault, GithubPlan, Item, PoolPlan, Scenario, Source,
    What,
};
pub use shrink::shrink;
pub use text::Unreadable;
