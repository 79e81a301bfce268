//! A pool's plan: how many runners are made, given a registration, and given up.

use jiff::{SignedDuration, Timestamp};

use super::{
    alone,
    census::{Census, passed},
    claims::{self, Claim},
    demand::{Demand, demand},
    earlier, overdue,
    places::{self, Places, Room},
    runner, scale_set,
    schedule::limits_at,
    webhook,
};
use crate::{
    effect::{Flight, Membership},
    model::{
        DemandSource, Instance, Limits, PoolName, PoolSpec, Reason, Runner, RunnerName,
        ScaleSetTrack, ScopeName, Share, Spec, TroubleKey, later,
    },
    planted::{Bug, planted},
    ports::Ids,
    world::{Action, Pool, World},
};

/// For how long a runner that starts for a job holds back the refill of the stock that it was taken from: an instance that
/// is being made takes the processors and disks that the job waits for.
const START_FIRST: SignedDuration = SignedDuration::from_secs(2);

/// Pools in the order in which they are served: by priority, then by name.
pub(super) fn by_priority(world: &World, spec: &Spec) -> Vec<PoolName> {
    let mut names: Vec<(i32, PoolName)> = world
        .pools()
        .map(|pool| {
            let priority = spec.pools.get(&pool.state.name).map_or(i32::MAX, |of| of.priority);
            (priority.saturating_neg(), pool.state.name.clone())
        })
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

impl Pool {
    /// Whether its plan is out of date.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.touched || self.due.is_some_and(|due| due <= now)
    }
}

/// Whether the pool takes jobs: it is in the configuration, and neither drained nor deleted, and the daemon stays.
pub(super) fn is_open(world: &World, spec: &Spec, pool: &Pool) -> bool {
    spec.pools.contains_key(&pool.state.name)
        && (pool.state.drained.is_none() || planted(Bug::DrainedPoolOpen))
        && pool.state.deleting.is_none()
        && !world.is_stopping()
}

/// Whether GitHub's refusals of a credential are waited out.
pub(super) fn credential_waits(world: &World, scope: &ScopeName, now: Timestamp) -> bool {
    credential_until(world, scope).is_some_and(|until| until > now)
}

pub(super) fn credential_until(world: &World, scope: &ScopeName) -> Option<Timestamp> {
    world
        .trouble(&TroubleKey::Credential { scope: scope.clone() })
        .map(|trouble| trouble.next_attempt_at)
}

/// Whether nothing is asked of the REST API: the credential is refused, or its rate limit is used up.
pub(super) fn rest_waits(world: &World, scope: &ScopeName, now: Timestamp) -> bool {
    rest_until(world, scope).is_some_and(|until| until > now)
}

pub(super) fn rest_until(world: &World, scope: &ScopeName) -> Option<Timestamp> {
    let limit = world.trouble(&TroubleKey::RateLimit { scope: scope.clone() });
    credential_until(world, scope).max(limit.map(|trouble| trouble.next_attempt_at))
}

/// How many runners a pool is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The limits in force.
    pub limits: Limits,
    /// Runners that hold a job or can take one: for the jobs, and `min_idle` beside them, up to `max`.
    pub desired: u32,
    /// Of these, the ones that may be made: what other jobs would need is asked for first.
    pub sure: u32,
    /// Unregistered instances beside them, up to `max` in all.
    pub warm: u32,
}

impl Target {
    fn of(demand: Demand, limits: Limits, open: bool) -> Self {
        if !open {
            return Self { limits, desired: 0, sure: 0, warm: 0 };
        }
        let runners = |jobs: u32| jobs.saturating_add(limits.min_idle).min(limits.max);
        let desired = runners(demand.jobs);
        let warm = limits.warm.min(limits.max - desired);
        Self { limits, desired, sure: runners(demand.sure), warm }
    }
}

/// How many runners a pool is to have now.
#[must_use]
pub fn target_of(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    census: &Census<'_>,
    now: Timestamp,
) -> Target {
    Target::of(demand(pool, census, now), limits_at(of, now).0, is_open(world, spec, pool))
}

/// Plans one pool. Returns when the plan is out of date though nothing happens, and what it claims.
pub(super) fn plan(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    now: Timestamp,
    ids: &mut dyn Ids,
    room: &mut Room,
    actions: &mut Vec<Action>,
) -> (Option<Timestamp>, Option<Claim>) {
    let of = spec.pools.get(&pool.state.name);
    // What the pool gives up takes no further step: its decisions are begun before those of its runners.
    let mut steps = Vec::new();
    let scope = runner::scope_of(spec, pool, of);
    let (left, mut due) = of.map(|of| places::left(world, pool, of, room, now)).unwrap_or_default();
    for row in pool.runners.values() {
        let known = runner::Known { world, pool, of, scope: scope.as_ref(), left: &left };
        let step = runner::plan(known, row, now, room, &mut steps);
        due = earlier(due, step);
    }
    let census = Census::of(pool);
    let Some(of) = of else {
        retire_all(&census, &Reason::PoolRemoved, actions);
        actions.append(&mut steps);
        let leaving = scale_set::plan_leaving(world, spec, pool, now, actions);
        return (earlier(due, leaving), None);
    };
    let open = is_open(world, spec, pool);
    let (limits, limits_change) = limits_at(of, now);
    let demand = demand(pool, &census, now);
    let target = Target::of(demand, limits, open);
    due = earlier(due, earlier(limits_change, demand.changes_at));
    due = earlier(due, overdue::plan(pool, &census, now, actions));
    due = earlier(due, alone::prove(world, of, &census, now, actions));
    due = earlier(due, places::stalls(pool, of, &census, now, actions));
    let mut claim = None;
    if pool.state.deleting.is_some() || pool.state.drained.is_some() {
        let reason =
            if pool.state.deleting.is_some() { Reason::PoolRemoved } else { Reason::Drained };
        retire_all(&census, &reason, actions);
    } else if scale_set::is_left(pool, of) {
        retire_all(&census, &Reason::ImageReplaced, actions);
    } else if open && (pool.heard_at.is_some() || alone::is_set_up(pool, of)) {
        // Before GitHub was heard in this life, a scale set's counts are those of another day.
        due = earlier(due, give_up(of, &census, target, now, actions));
        due = earlier(due, mint(world, of, pool, &census, target, now, &mut steps));
        let spawned;
        (spawned, claim) = spawn(world, of, pool, &census, target, now, ids, room, &mut steps);
        due = earlier(due, spawned);
        let doubts = (demand, target);
        due = earlier(due, webhook::plan(world, pool, of, &census, doubts, now, &mut steps));
    }
    actions.append(&mut steps);
    let set = if pool.state.deleting.is_some() {
        scale_set::plan_leaving(world, spec, pool, now, actions)
    } else if let Some(set) = of.scale_set() {
        scale_set::plan(world, spec, pool, of, set, &census, target.limits, demand, now, actions)
    } else {
        alone::plan(world, spec, pool, of, now, actions)
    };
    (earlier(due, set), claim)
}

/// As what the pool's next runner registers, and through which scope; `None` while that is not known.
pub(super) fn membership(pool: &Pool, of: Option<&PoolSpec>) -> Option<(ScopeName, Membership)> {
    match (&pool.state.scale_set, of) {
        (_, Some(of)) if of.scale_set().is_none() => alone::membership(pool, of),
        (ScaleSetTrack::Present { id, scope, .. }, _) => {
            Some((scope.clone(), Membership::ScaleSet(*id)))
        }
        _ => None,
    }
}

/// Registrations for the jobs: warm instances first, then those on their way where the boot is short.
fn mint(
    world: &World,
    of: &PoolSpec,
    pool: &Pool,
    census: &Census<'_>,
    target: Target,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let (scope, membership) = membership(pool, Some(of))?;
    let need = target.sure.saturating_sub(census.serving) as usize;
    if need == 0 {
        return None;
    }
    let until = match membership {
        Membership::ScaleSet(_) => credential_until(world, &scope),
        Membership::Alone { .. } => rest_until(world, &scope),
    };
    if until.is_some_and(|until| until > now) {
        return until;
    }
    let fast = |row: &Runner| {
        world.backend(&row.backend).is_some_and(|backend| backend.capabilities.boots_fast)
    };
    let coming = census
        .coming
        .iter()
        .filter(|row| fast(row) && !matches!(row.instance, Instance::Planned { .. }));
    let mut due = None;
    for row in census.warm.iter().chain(coming).take(need) {
        let attempt_at = row.registration_attempt.as_ref().map(|attempt| attempt.next_at);
        if !passed(attempt_at, now) {
            due = earlier(due, attempt_at);
        } else if !world.is_flying(&Flight::Registration(row.name.clone())) {
            actions.push(Action::Mint {
                runner: row.name.clone(),
                scope: scope.clone(),
                membership: membership.clone(),
            });
        }
    }
    due
}

/// New rows up to the target, as far as the pool's places let; and what it claims where they do not.
#[expect(clippy::too_many_arguments, reason = "a plan's whole context, read only")]
fn spawn(
    world: &World,
    of: &PoolSpec,
    pool: &Pool,
    census: &Census<'_>,
    target: Target,
    now: Timestamp,
    ids: &mut dyn Ids,
    room: &mut Room,
    actions: &mut Vec<Action>,
) -> (Option<Timestamp>, Option<Claim>) {
    let (held_back, until) = held_back(census, target, now);
    let stock = target.warm.saturating_sub(held_back);
    let wanted = (target.sure + stock).saturating_sub(census.live());
    let most = target.limits.max + u32::from(planted(Bug::OneAboveMax));
    let mut count = wanted.min(most.saturating_sub(census.occupied));
    let lacking = claims::wanted(pool, of, census, target);
    if count == 0 && lacking == 0 {
        return (until, None);
    }
    let mut places = Places::new(world, pool, of, now);
    let claim = |places: &Places<'_>, room: &Room, made: u32| {
        claims::claim(places, room, of, lacking.saturating_sub(made))
    };
    // Of these so many are needed though those whose creation stalls may still come.
    let needed = wanted.saturating_sub(u32::try_from(census.stalled.len()).unwrap_or(u32::MAX));
    let is_alone = of.scale_set().is_none();
    let until = if is_alone {
        let (left, again) = alone::creations_left(world, of, now);
        count = count.min(left.saturating_sub(room.alone(&of.scope)));
        earlier(until, again)
    } else {
        until
    };
    let sure = target.sure.saturating_sub(census.live());
    for index in 0..count {
        let Some(place) = places.choose(room, index >= needed, index >= sure) else {
            // What else ends it, such as a list or another pool's runner, wakes the pool.
            return (earlier(until, places.again(room)), claim(&places, room, index));
        };
        let runner = RunnerName::compose(&of.name, world.controller(), ids.suffix());
        if world.runner(&runner).is_none() {
            if is_alone {
                room.plan_alone(&of.scope);
            }
            actions.push(Action::Spawn {
                runner,
                backend: place.backend.clone(),
                mark: place.mark.clone(),
                share: Share::of(&place.instance),
            });
        }
    }
    (until, claim(&places, room, count))
}

/// How many instances of the stock are not replaced yet, since the runners that they became are only starting; and until
/// when.
fn held_back(census: &Census<'_>, target: Target, now: Timestamp) -> (u32, Option<Timestamp>) {
    // Those to which this very plan gives a registration.
    let taken = (target.sure.saturating_sub(census.serving) as usize).min(census.warm.len());
    let ends = census.minting.iter().chain(&census.starting).filter_map(|row| {
        let until = later(row.registration.since()?, START_FIRST);
        (until > now).then_some(until)
    });
    let (young, until) =
        ends.fold((0, None), |(count, until), end| (count + 1, earlier(until, Some(end))));
    (u32::try_from(taken + young).unwrap_or(u32::MAX), until)
}

/// What is too much: unregistered instances at once, idle runners after their time.
fn give_up(
    of: &PoolSpec,
    census: &Census<'_>,
    target: Target,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let free = census.warm.len() + census.coming.len();
    let keep = (target.desired.saturating_sub(census.serving) + target.warm) as usize;
    let extra = free.saturating_sub(keep);
    for row in census.coming.iter().rev().chain(&census.warm).take(extra) {
        actions.push(Action::Retire { runner: row.name.clone(), reason: Reason::Surplus });
    }
    // Others are made in their place, and which of them come first nobody knows: they go where none is needed any more.
    for row in census.stalled.iter().filter(|_| keep == 0) {
        actions.push(Action::Retire { runner: row.name.clone(), reason: Reason::Surplus });
    }
    let min_idle = if planted(Bug::MinIdleTimesOut) { target.limits.min_idle } else { 0 };
    let mut over = (census.serving + min_idle).saturating_sub(target.desired) as usize;
    let fixed = of.demand == DemandSource::Fixed;
    let surplus = if fixed { Reason::TooMany } else { Reason::Surplus };
    for row in census.unready.iter().rev().take(over) {
        actions.push(Action::Retire { runner: row.name.clone(), reason: surplus.clone() });
    }
    over = over.saturating_sub(census.unready.len());
    let mut due = None;
    let reason = if fixed { surplus } else { Reason::IdleTimeout };
    for row in census.idle.iter().take(over) {
        // Where no jobs are counted, none is waited for.
        let until = row.online_since.filter(|_| !fixed);
        let until = until.map(|since| later(since, of.deadlines.idle));
        if passed(until, now) {
            actions.push(Action::Retire { runner: row.name.clone(), reason: reason.clone() });
        } else {
            due = earlier(due, until);
        }
    }
    due
}

/// Every runner that is not busy goes. A busy one ends its job; what GitHub does not let go of is busy.
fn retire_all(census: &Census<'_>, reason: &Reason, actions: &mut Vec<Action>) {
    for row in census.every_idle() {
        actions.push(Action::Retire { runner: row.name.clone(), reason: reason.clone() });
    }
}
