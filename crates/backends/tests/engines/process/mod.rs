//! Plain processes of this host.

mod contract;
mod ground;
