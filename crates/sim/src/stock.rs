//! Whether a runner, for a job or kept online, waits for room that nothing but another pool's stock takes.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{Place, PoolName, PoolSpec, Runner, Share, TroubleKey},
    plan::{Census, target_of},
    world::Pool,
};
use dayfly_engine::View;
use jiff::{SignedDuration, Timestamp};

/// How long it may take until stock has gone: its engine may fail and be asked again, and the daemon die meanwhile.
const GIVES_WAY: SignedDuration = SignedDuration::from_mins(10);

/// Since when each pool waits so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(BTreeMap<PoolName, Timestamp>);

/// Looks at every pool; tells of one that has waited so for too long.
pub(crate) fn look(view: &View<'_>, before: &Held) -> (Held, Option<String>) {
    let mut held = Held::default();
    let mut told = None;
    for pool in view.world.pools().filter(|_| view.store_error.is_none()) {
        let Some(of) = view.spec.pools.get(&pool.state.name) else { continue };
        let Some(place) = wants_room(view, pool, of) else { continue };
        let stock = stock(view, of, place);
        if stock.is_empty() {
            continue;
        }
        let name = pool.state.name.clone();
        let since = before.0.get(&name).copied().unwrap_or(view.now);
        if view.now.duration_since(since) > GIVES_WAY {
            told = told.or_else(|| {
                let stock = stock.join(", ");
                Some(format!("runners of pool {name} wait since {since} for the room of {stock}"))
            });
        }
        held.0.insert(name, since);
    }
    (held, told)
}

/// The place where the pool would have one more runner, but for the budget.
fn wants_room<'a>(view: &View<'_>, pool: &Pool, of: &'a PoolSpec) -> Option<&'a Place> {
    let [place] = of.places.as_slice() else { return None };
    let ill = [
        TroubleKey::Backend { backend: place.backend.clone() },
        TroubleKey::Creates { backend: place.backend.clone() },
        place.creation_key(&of.name),
    ];
    if ill.iter().any(|key| view.world.trouble(key).is_some()) {
        return None;
    }
    let backend = view.world.backend(&place.backend).filter(|backend| backend.is_known())?;
    let share = Share::of(&place.instance);
    let census = Census::of(pool);
    let target = target_of(view.world, view.spec, pool, of, &census, view.now);
    let wants = target.sure > census.live() && census.occupied < target.limits.max;
    let is_full = backend.budget.room(backend.used, share) == 0;
    let fits = backend.budget.room(Default::default(), share) > 0;
    (wants && is_full && fits && pool.heard_at.is_some()).then_some(place)
}

/// Instances of others there that wait for no job, where they take no less than one runner of the pool.
fn stock(view: &View<'_>, of: &PoolSpec, place: &Place) -> Vec<String> {
    let share = Share::of(&place.instance);
    let others = view.world.pools().filter(|other| other.state.name != of.name);
    let mut names = Vec::new();
    for other in others {
        let Some(theirs) = view.spec.pools.get(&other.state.name) else { continue };
        if theirs.priority > of.priority {
            continue;
        }
        let census = Census::of(other);
        let target = target_of(view.world, view.spec, other, theirs, &census, view.now);
        let own = target.desired.saturating_sub(census.serving) as usize;
        let is_there = |row: &&&Runner| {
            row.backend == place.backend && row.share.cpu_millis >= share.cpu_millis
        };
        names.extend(census.warm.iter().skip(own).filter(is_there).map(|row| row.name.to_string()));
    }
    names
}
