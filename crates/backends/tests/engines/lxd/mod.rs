//! LXD, the real one.

mod asked;
mod cluster;
mod contract;
mod fake;
mod half_made;
mod killed;
mod life;
mod odd_ends;
mod private;
mod program;
mod refusals;
mod remote;
mod secrecy;
mod server;
mod silent;
mod two;
mod unready;
mod vm;
