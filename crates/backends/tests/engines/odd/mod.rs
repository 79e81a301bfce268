//! Whatever an engine answers: a value or a clear error, in bounded time, and never a panic.

mod accident;
mod docker;
mod noop;
mod process;
