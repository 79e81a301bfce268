//! LXD, the real one.

mod contract;
mod half_made;
mod life;
mod refusals;
mod remote;
mod secrecy;
mod server;
