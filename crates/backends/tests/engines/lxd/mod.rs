//! LXD, the real one.

mod asked;
mod cluster;
mod contract;
mod fake;
mod fence;
mod half_made;
mod incus;
mod killed;
mod life;
mod members;
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

// By this name another suite has it too.
use private as lxd_private;
