//! What a pool may promise GitHub: the capacity that each long poll advertises.

use jiff::Timestamp;

use super::{census::Census, pool::is_open};
use crate::{
    model::{FAILURES_TO_PAUSE, Limits, PoolSpec, Spec, TroubleKey},
    planted::{Bug, planted},
    world::{Pool, World},
};

/// The total that a poll advertises, running runners included: what the pool holds or can take, and what its backend
/// can have online within four minutes. Lowering it never takes a job back (2.3). It is 0 while the pool takes no jobs.
#[must_use]
pub fn advertised_capacity(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    limits: Limits,
    census: &Census<'_>,
    now: Timestamp,
) -> u32 {
    // Nobody asks a pool without a scale set.
    if of.scale_set().is_none() {
        return 0;
    }
    if planted(Bug::CapacityAlwaysMax) {
        return limits.max;
    }
    if !is_open(world, spec, pool) {
        return 0;
    }
    let Some(backend) = world.backend(&of.backend) else {
        return 0;
    };
    let key = TroubleKey::Creation {
        pool: of.name.clone(),
        backend: of.backend.clone(),
        mark: of.mark.clone(),
    };
    let paused = world.trouble(&key).is_some_and(|trouble| {
        trouble.failures >= FAILURES_TO_PAUSE && trouble.next_attempt_at > now
    });
    let unreachable = world
        .trouble(&TroubleKey::Backend { backend: of.backend.clone() })
        .is_some_and(|trouble| trouble.failures >= FAILURES_TO_PAUSE);
    if paused || unreachable || backend.listed_at.is_none() {
        return 0;
    }
    let room = limits.max.saturating_sub(census.leaving);
    census.live().saturating_add(backend.capabilities.ready_in_four_minutes).min(room)
}
