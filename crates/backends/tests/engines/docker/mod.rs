//! Docker, the real one.

mod contract;
mod crash;
mod engine;
mod hidden;
mod life;
mod private;
mod refusals;
mod registry;
mod remote;
mod secrecy;
mod unstarted;
mod upgraded;
