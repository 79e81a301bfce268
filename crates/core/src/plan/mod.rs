//! The planner: from what is wanted and what is known to what is to be done.
//!
//! [`plan`] is pure and total: it reads the world and changes nothing. [`pass`] repeats plan and [`World::begin`] until
//! nothing is left to decide, and hands out what is to be committed and then begun.

mod alone;
mod capacity;
mod catch_up;
mod census;
mod claims;
mod demand;
mod lists;
mod overdue;
mod places;
mod pool;
mod runner;
mod scale_set;
mod schedule;
mod webhook;

use jiff::Timestamp;

pub(crate) use alone::in_time_left;
pub use capacity::advertised_capacity;
pub use census::Census;
pub use claims::Claim;
pub use demand::{Demand, demand};
pub(crate) use places::{Breaker, Passed, Places, Room, breaker};
pub use pool::{Target, target_of};
pub(crate) use scale_set::is_left;
pub use schedule::{InvalidSchedule, check_schedule, limits_at};
pub(crate) use webhook::to_read;

use crate::{
    effect::Effect,
    model::{Event, PoolName, ScopeName, Spec},
    ports::{Batch, Ids},
    world::{Action, World},
};

/// How often plan and begin alternate in one pass at most. A chain of decisions that need no outcome in between is
/// short (spawn, create, mint); what is left is taken up by the next pass.
const ROUNDS_MAX: usize = 8;

/// What a pass decided.
#[derive(Debug, Clone, Default)]
#[must_use = "effects begin only if somebody begins them"]
pub struct Pass {
    /// To be begun once `batch` is committed.
    pub effects: Vec<Effect>,
    /// To be committed whole.
    pub batch: Batch,
    /// To be told after the commit.
    pub events: Vec<Event>,
    /// When a pass is due though nothing happens.
    pub next_due: Option<Timestamp>,
}

/// One turn of the loop: plans, takes the decisions into the world, and hands out what is to be committed and begun.
pub fn pass(world: &mut World, spec: &Spec, now: Timestamp, ids: &mut dyn Ids) -> Pass {
    let mut effects = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let plan = plan(world, spec, now, ids);
        let again = world.planned(plan.planned);
        if plan.actions.is_empty() && !again {
            break;
        }
        for action in plan.actions {
            effects.extend(world.begin(action, now));
        }
    }
    Pass {
        effects,
        batch: world.take_changes(now),
        events: world.take_events(),
        next_due: world.next_due(now),
    }
}

/// How many more registrations the credential of a pool of runners that register by themselves can make before its hour ends,
/// and when that is; `None` where GitHub sets no limit, or told none yet.
#[must_use]
pub fn registrations_left(
    world: &World,
    scope: &ScopeName,
    now: Timestamp,
) -> Option<(u32, Timestamp)> {
    alone::registrations_left(world, scope, now)
}

/// When a list of a backend or a scope is due though nothing happens.
pub(crate) fn lists_due(world: &World, now: Timestamp) -> Option<Timestamp> {
    earlier(lists::next_due(world, now), catch_up::next_due(world, now))
}

/// What a plan decides, and until when it holds for each pool that it looked at.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order in which they are to be begun.
    pub actions: Vec<Action>,
    /// The pools that were planned.
    pub planned: Vec<Planned>,
}

/// What is remembered of a pool's plan until the next.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The pool.
    pub pool: PoolName,
    /// When the plan is out of date though nothing happens.
    pub due: Option<Timestamp>,
    /// Room that its runners to be want of a budget that is used up.
    pub claim: Option<Claim>,
}

/// Decides what is to be done now. Pools whose inputs did not change keep their plan.
#[must_use]
pub fn plan(world: &World, spec: &Spec, now: Timestamp, ids: &mut dyn Ids) -> Plan {
    let mut plan = Plan::default();
    lists::plan(world, spec, now, &mut plan.actions);
    catch_up::plan(world, spec, now, &mut plan.actions);
    let mut room = Room::new(world, now);
    let by_priority = pool::by_priority(world, spec);
    for name in &by_priority {
        let Some(pool) = world.pool(name.as_str()) else { continue };
        if !pool.is_due(now) {
            continue;
        }
        let (due, claim) = pool::plan(world, spec, pool, now, ids, &mut room, &mut plan.actions);
        plan.planned.push(Planned { pool: name.clone(), due, claim });
    }
    claims::make_room(world, spec, &room, now, &by_priority, &mut plan);
    plan
}

/// The earliest of two times, where there is one.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}
