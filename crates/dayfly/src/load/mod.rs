//! The other side, for the demo, the tests and the benchmarks: a simulated GitHub, and instances that cost nothing.

mod host;
mod player;
mod simulate;

pub use host::host;
pub use simulate::simulate;
