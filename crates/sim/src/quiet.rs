//! A quiet world: what a plan made anew would do where nothing happens.

use dayfly_core::{
    effect::{Command, Outcome},
    model::{Phase, PoolName, Runner},
    plan::plan,
};
use dayfly_engine::View;

use crate::outside::SeededIds;

/// The pools at rest, and what a plan made anew would do for them. A pool is at rest where each of its runners is warm or
/// online, and as many as are configured (else it is `moving`).
pub(crate) fn planned_at_rest(view: &View<'_>, moving: &[String]) -> (Vec<PoolName>, Vec<String>) {
    let mut world = view.world.clone();
    let stays = |runner: &Runner| matches!(runner.phase(), Phase::Warm | Phase::Online);
    let rests = |pool: &&PoolName| {
        let known = world.pool(pool.as_str());
        known.is_some_and(|known| known.runners.values().all(stays))
            && !moving.iter().any(|name| name == pool.as_str())
    };
    let resting: Vec<PoolName> = view.spec.pools.keys().filter(rests).cloned().collect();
    for pool in &resting {
        // Has no effect but that the pool is planned anew.
        world.apply(Outcome::Command(Command::Undrain(pool.clone())), view.now);
    }
    let mut ids = SeededIds(fastrand::Rng::with_seed(1));
    let planned = plan(&world, view.spec, view.now, &mut ids);
    let of_resting = |action: &String| {
        let mut words = action.split(|char: char| !char.is_ascii_alphanumeric());
        words.any(|word| resting.iter().any(|pool| pool.as_str() == word))
    };
    let planned = planned.actions.into_iter().map(|action| format!("{action:?}"));
    // Lists and refreshes are due by the clock, in a quiet world too.
    let planned = planned
        .filter(|action| !action.starts_with("List") && !action.contains("RefreshSession"))
        .filter(of_resting)
        .collect();
    (resting, planned)
}
