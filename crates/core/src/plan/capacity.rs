//! What a pool may promise GitHub: the capacity that each long poll advertises.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    census::Census,
    places::{Breaker, attempts_left, breaker},
    pool::is_open,
};
use crate::{
    model::{
        BackendName, FAILURES_TO_PAUSE, Limits, Place, PoolName, PoolSpec, Share, Spec, TroubleKey,
        Used,
    },
    planted::{Bug, planted},
    world::{BackendView, Pool, World},
};

/// The total that a poll advertises, running runners included: what the pool holds or can take, and what its backends
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
    let soon = of.places.iter().filter_map(|place| ready_soon(world, spec, pool, of, place, now));
    let Some(soon) = soon.reduce(u32::saturating_add) else {
        return 0;
    };
    let stalled = u32::try_from(census.stalled.len()).unwrap_or(u32::MAX);
    let room = limits.max.saturating_sub(census.leaving).saturating_sub(stalled);
    census.live().saturating_add(soon).min(room)
}

/// How many more a place can have online within four minutes; `None` where it takes none. Where a few at a time show whether
/// they work again, GitHub is promised no more: it never takes back what it assigned, and fails what found no runner.
fn ready_soon(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    place: &Place,
    now: Timestamp,
) -> Option<u32> {
    let backend = world.backend(&place.backend)?;
    let paused = world.trouble(&place.creation_key(&of.name)).is_some_and(|trouble| {
        trouble.failures >= FAILURES_TO_PAUSE && trouble.next_attempt_at > now
    });
    let unreachable = world
        .trouble(&TroubleKey::Backend { backend: place.backend.clone() })
        .is_some_and(|trouble| trouble.failures >= FAILURES_TO_PAUSE);
    let open = matches!(breaker(world, &place.backend, now), Breaker::Open(_));
    if paused || unreachable || open || !backend.is_known() {
        return None;
    }
    let part = part_of_budget(world, spec, &of.name, &place.backend, backend);
    let attempts = attempts_left(world, pool, of, place, now);
    Some(backend.capabilities.ready_in_four_minutes.min(part).min(attempts))
}

/// A pool that shares what is left of a budget.
struct Claim<'a> {
    pool: &'a PoolName,
    share: Share,
    /// How many it could take at most.
    most: u32,
}

/// How many instances of a pool are its part of what is left of a backend's budget.
///
/// It is divided among the pools that advertise: jobs of two pools are often queued by one push, and what GitHub gives both of them
/// at once for the same room would wait until it gives up. Each gets as many as any other; of what is left of that, one each, those
/// of whose jobs GitHub keeps some back come first, then those of a higher priority.
fn part_of_budget(
    world: &World,
    spec: &Spec,
    own: &PoolName,
    name: &BackendName,
    backend: &BackendView,
) -> u32 {
    if !backend.budget.is_limited() {
        return u32::MAX;
    }
    let mut claims = Vec::new();
    for of in spec.pools.values().filter(|of| of.scale_set().is_some()) {
        let (Some(place), Some(pool)) = (of.place(name), world.pool(of.name.as_str())) else {
            continue;
        };
        if !is_open(world, spec, pool) {
            continue;
        }
        let scheduled = of.schedules.iter().filter_map(|schedule| schedule.max);
        let max = scheduled.fold(of.limits.max, u32::max);
        let has = u32::try_from(pool.runners.len()).unwrap_or(u32::MAX);
        let soon = backend.capabilities.ready_in_four_minutes;
        let claim = Claim {
            pool: &of.name,
            share: Share::of(&place.instance),
            most: max.saturating_sub(has).min(soon),
        };
        let kept_back =
            pool.state.statistics.is_some_and(|(statistics, _)| statistics.available > 0);
        claims.push((Reverse(kept_back), Reverse(of.priority), claim));
    }
    // Of equals the first by name, as the spec has them.
    claims.sort_by_key(|(kept_back, priority, _)| (*kept_back, *priority));
    let claims: Vec<Claim<'_>> = claims.into_iter().map(|(.., claim)| claim).collect();
    let with = |each: u32| claims.iter().fold(backend.used, |used, of| add(used, of, each));
    let fits = |used: Used| backend.budget.holds(used);
    let most = claims.iter().map(|of| of.most).max().unwrap_or(0);
    let each = largest(most, |each| fits(with(each)));
    let mut used = with(each);
    for of in &claims {
        let more = used.plus(of.share);
        let one = of.most > each && fits(more);
        if one {
            used = more;
        }
        if of.pool == own {
            return of.most.min(each) + u32::from(one);
        }
    }
    0
}

/// With `each` instances more of a pool, as far as it takes so many.
fn add(used: Used, of: &Claim<'_>, each: u32) -> Used {
    let count = each.min(of.most);
    Used {
        cpu_millis: used
            .cpu_millis
            .saturating_add(of.share.cpu_millis.saturating_mul(count.into())),
        memory_bytes: used
            .memory_bytes
            .saturating_add(of.share.memory_bytes.saturating_mul(count.into())),
        runners: used.runners.saturating_add(count),
    }
}

/// The largest number up to `most` that fits, where with each that fits all smaller ones do; 0 where none does.
fn largest(most: u32, fits: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// When the pause of one of the pool's places ends.
pub(super) fn rises_at(world: &World, of: &PoolSpec, now: Timestamp) -> Option<Timestamp> {
    let until = |key: TroubleKey| world.trouble(&key).map(|trouble| trouble.next_attempt_at);
    let pauses = of.places.iter().flat_map(|place| {
        let creates = TroubleKey::Creates { backend: place.backend.clone() };
        [until(place.creation_key(&of.name)), until(creates)]
    });
    pauses.flatten().filter(|until| *until > now).min()
}

/// Whether what the pool advertises hangs on what other pools use.
pub(super) fn shares_budget(world: &World, of: &PoolSpec) -> bool {
    let limited = |place: &Place| {
        world.backend(&place.backend).is_some_and(|backend| backend.budget.is_limited())
    };
    of.places.iter().any(limited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found() {
        for most in [0, 1, 2, 3, 7, 100, u32::MAX] {
            for bound in [0, 1, 2, 6, 7, 99, 100, 4_000_000_000] {
                assert_eq!(
                    largest(most, |count| count <= bound),
                    most.min(bound),
                    "{most} {bound}"
                );
            }
        }
        assert_eq!(largest(5, |_| false), 0);
    }
}
