//! What keeps a pool's instances from networks that are not theirs, and from the host.

mod place;
mod rules;

pub(super) use place::{Wanted, doubt, ensure, name_of, others, remove, sweep};
