//! The backends on their real engines. Tests that need an engine which may not be there are ignored unless asked for
//! (`cargo test -- --include-ignored`, which `cargo xtask test` does once it started the engine).
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod docker;
mod lxd;
mod noop;
mod odd;
mod process;
mod suite;
