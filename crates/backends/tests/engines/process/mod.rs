//! Plain processes of this host.

mod contract;
mod crash;
mod ground;
mod life;
mod limits;
