//! Room in a shared budget that one pool's stock gives up for the runners of another.
//!
//! Unregistered instances wait for a job that may come; a job that waits is there, and so is a runner to be that is kept online. So the stock of pools of the same or a lower
//! priority gives way, and is not filled again while the other still wants the room.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Plan,
    census::Census,
    places::{Passed, Places, Room},
    pool::{Target, target_of},
};
use crate::{
    model::{
        BackendName, Instance, Place, PoolName, PoolSpec, Reason, Registration, Runner, RunnerName,
        Share, Spec, Used,
    },
    planted::{Bug, planted},
    world::{Action, Pool, World},
};

/// What a pool's runners to be want of a backend whose budget is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The pool.
    pub pool: PoolName,
    /// Its priority.
    pub priority: i32,
    /// The backend.
    pub backend: BackendName,
    /// What one of its runners takes.
    pub share: Share,
    /// How many it wants.
    pub count: u32,
}

impl Claim {
    /// Whether what another pool keeps for jobs to come gives way to it.
    pub(super) fn comes_before(&self, of: &PoolSpec) -> bool {
        self.pool != of.name && self.priority >= of.priority
    }

    /// Whether another claim wants at least as much.
    pub(crate) fn is_within(&self, other: Option<&Self>) -> bool {
        other.is_some_and(|other| {
            (&self.backend, self.share) == (&other.backend, other.share)
                && self.count <= other.count
        })
    }

    pub(super) fn added_to(&self, used: Used) -> Used {
        (0..self.count).fold(used, |used, _| used.plus(self.share))
    }
}

/// How many more runners a pool wants than it has: for the jobs that it was given and those that GitHub keeps back because the
/// pool promises no more, and those that are kept online beside.
pub(super) fn wanted(pool: &Pool, of: &PoolSpec, census: &Census<'_>, target: Target) -> u32 {
    if planted(Bug::StockKeepsTheBudget) {
        return 0;
    }

    let kept_back = pool.state.statistics.map_or(0, |(statistics, _)| statistics.available);
    let kept_back = if of.scale_set().is_some() { kept_back } else { 0 };
    let wanted = target.sure.saturating_add(kept_back).min(target.limits.max);
    wanted.saturating_sub(census.live()).min(target.limits.max.saturating_sub(census.occupied))
}

/// What a pool claims that wants `count` runners more.
pub(super) fn claim(places: &Places<'_>, room: &Room, of: &PoolSpec, count: u32) -> Option<Claim> {
    if count == 0 {
        return None;
    }
    let mut wanted = None;
    for place in &of.places {
        let (budget, _) = room.budget(&place.backend)?;
        match places.passed(place, room) {
            None if !budget.is_limited() => return None,
            Some(Passed::Soon(_)) => return None,
            // Until GitHub gives the job, the room that there is has to be kept.
            None | Some(Passed::Budget(..)) => {
                let share = Share::of(&place.instance);
                let fits = budget.room(Used::default(), share) > 0;
                wanted = wanted.or(fits.then_some((place, share)));
            }
            Some(_) => {}
        }
    }
    let (Place { backend, .. }, share) = wanted?;
    let (pool, backend) = (of.name.clone(), backend.clone());
    Some(Claim { pool, priority: of.priority, backend, share, count })
}

/// Has stock give way to what is claimed, where that makes the room; what is leaving already counts as gone.
pub(super) fn make_room(
    world: &World,
    spec: &Spec,
    room: &Room,
    now: Timestamp,
    by_priority: &[PoolName],
    plan: &mut Plan,
) {
    let claims: Vec<Claim> = by_priority
        .iter()
        .filter_map(|name| match plan.planned.iter().find(|planned| planned.pool == *name) {
            Some(planned) => planned.claim.clone(),
            None => world.pool(name.as_str())?.claim.clone(),
        })
        .collect();
    if claims.is_empty() {
        return;
    }
    let mut leaving: BTreeSet<RunnerName> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Retire { runner, .. } => Some(runner.clone()),
            _ => None,
        })
        .collect();
    for (index, claim) in claims.iter().enumerate() {
        let Some((budget, used)) = room.budget(&claim.backend) else { continue };
        let rows = world.pools().flat_map(|pool| pool.runners.values());
        let gone = rows.filter(|row| {
            row.backend == claim.backend && (is_leaving(row) || leaving.contains(&row.name))
        });
        let mut used = gone.fold(used, |used, row| used.minus(row.share));
        // Those before it have what they want.
        for before in claims[..index].iter().filter(|before| before.backend == claim.backend) {
            used = before.added_to(used);
        }
        let stock = stock(world, spec, claim, now, by_priority, &leaving);
        let mut stock = stock.into_iter();
        for _ in 0..claim.count {
            let mut going = Vec::new();
            let mut left = used;
            while budget.room(left, claim.share) == 0
                && let Some(row) = stock.next()
            {
                left = left.minus(row.share);
                going.push(row);
            }
            if budget.room(left, claim.share) == 0 {
                break;
            }
            used = left.plus(claim.share);
            for row in going {
                leaving.insert(row.name.clone());
                let runner = row.name.clone();
                plan.actions.push(Action::Retire { runner, reason: Reason::GaveWay });
            }
        }
    }
}

/// What gives way to a claim: the pool of the lowest priority first, and of its stock what is least far.
fn stock<'a>(
    world: &'a World,
    spec: &Spec,
    claim: &Claim,
    now: Timestamp,
    by_priority: &[PoolName],
    leaving: &BTreeSet<RunnerName>,
) -> Vec<&'a Runner> {
    let mut stock = Vec::new();
    for name in by_priority.iter().rev() {
        let (Some(pool), Some(of)) = (world.pool(name.as_str()), spec.pools.get(name)) else {
            continue;
        };
        if !claim.comes_before(of) {
            continue;
        }
        let census = Census::of(pool);
        let target = target_of(world, spec, pool, of, &census, now);
        let free = census.coming.iter().rev().chain(&census.warm);
        let free: Vec<_> = free.filter(|row| !leaving.contains(&row.name)).collect();
        let own = target.desired.saturating_sub(census.serving) as usize;
        let spare = free.len().saturating_sub(own);
        let there = free.into_iter().filter(|row| row.backend == claim.backend);
        stock.extend(there.take(spare).copied());
    }
    stock
}

/// Whether a runner's part of the budget is about to be free.
fn is_leaving(row: &Runner) -> bool {
    let is_busy = matches!(row.registration, Registration::Busy { completed_at: None, .. });
    let goes = row.retiring.is_some() || matches!(row.instance, Instance::Removing { .. });
    row.instance.may_live() && goes && !is_busy
}
