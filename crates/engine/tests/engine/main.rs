//! The engine on a small world outside, with virtual time on one thread.

mod commits;
mod life;
mod shutdown;
mod sickness;
mod site;
mod watches;
