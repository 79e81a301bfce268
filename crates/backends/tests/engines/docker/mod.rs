//! Docker, the real one.

mod contract;
mod engine;
