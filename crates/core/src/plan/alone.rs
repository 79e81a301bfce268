//! Pools without a scale set: their runners register by themselves, whatever tells how many there should be.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    census::Census,
    earlier,
    places::{Breaker, breaker},
    pool::{rest_until, rest_waits},
    scale_set::{call, close_session, waits_until},
};
use crate::{
    effect::{Membership, ScaleSetCall},
    model::{
        Instance, PoolSpec, Registration, Runner, ScaleSetTrack, ScopeName, SessionTrack, Spec,
        TroubleKey, later,
    },
    world::{Action, Pool, World},
};

/// How long GitHub may see a waiting runner offline before it goes: a connection that breaks is made again within minutes.
pub(super) const OFFLINE_MAX: SignedDuration = SignedDuration::from_mins(10);

/// A runner that waited this long without a job shows that creation works as well as one with a job does.
const PROVEN: SignedDuration = SignedDuration::from_mins(2);

/// One in this many of a credential's requests is kept for what has to be removed, looked up and listed.
const KEPT: u32 = 10;

/// As what the pool's next runner registers; `None` while its group is not known, or runners of another scope are left.
pub(super) fn membership(pool: &Pool, of: &PoolSpec) -> Option<(ScopeName, Membership)> {
    if !is_set_up(pool, of) {
        return None;
    }
    let labels: Arc<[String]> = of.all_labels().into();
    Some((of.scope.clone(), Membership::Alone { group: pool.group?, labels }))
}

/// Whether the pool has no scale set, and nothing is left of what it was before.
pub(super) fn is_set_up(pool: &Pool, of: &PoolSpec) -> bool {
    of.scale_set().is_none()
        && pool.state.scale_set == ScaleSetTrack::Unknown
        && pool.state.registers_in.as_ref() == Some(&of.scope)
}

/// What the pool needs of GitHub beside its runners.
pub(super) fn plan(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    if pool.state.scale_set != ScaleSetTrack::Unknown || pool.state.session != SessionTrack::None {
        return leave_set(world, spec, pool, of, now, actions);
    }
    let name = &pool.state.name;
    if pool.state.registers_in.as_ref() != Some(&of.scope) {
        // Runners of another scope are asked for there until the last of them is gone.
        if pool.state.registers_in.is_none() || pool.runners.is_empty() {
            let scope = Some(of.scope.clone());
            actions.push(Action::RegisterIn { pool: name.clone(), scope });
        }
        return None;
    }
    let mut due = None;
    if pool.group.is_none() && !world.is_stopping() {
        match waits_until(world, pool, Some(of), now) {
            Some(until) => due = earlier(due, Some(until)),
            None => {
                let find = ScaleSetCall::FindGroup(of.group.clone());
                call(world, pool, &of.scope, find, actions);
            }
        }
    }
    due
}

/// The pool had a scale set before: its runners go once they are free, and the set with the last of them. One that we did not
/// make stays.
fn leave_set(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    if pool.state.session != SessionTrack::None {
        return close_session(world, spec, pool, now, actions);
    }
    if !pool.runners.is_empty() || world.is_stopping() {
        return None;
    }
    if let Some(until) = waits_until(world, pool, Some(of), now) {
        return Some(until);
    }
    match &pool.state.scale_set {
        ScaleSetTrack::Present { id, scope, made: true, .. } if spec.scopes.contains_key(scope) => {
            call(world, pool, scope, ScaleSetCall::Delete(*id), actions);
        }
        ScaleSetTrack::Deleting { id, .. } => {
            let scope =
                world.scope_of(pool.state.name.as_str()).unwrap_or_else(|| of.scope.clone());
            call(world, pool, &scope, ScaleSetCall::Delete(*id), actions);
        }
        _ => actions.push(Action::LeaveSet(pool.state.name.clone())),
    }
    None
}

/// Where no job may come for hours, a runner that waits for one ends the pool's trouble with creation.
pub(super) fn prove(
    world: &World,
    of: &PoolSpec,
    census: &Census<'_>,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let mut due = None;
    for place in &of.places {
        let key = place.creation_key(&of.name);
        let Some(trouble) = world.trouble(&key) else { continue };
        let is_proof = |row: &&&Runner| {
            row.created_at > trouble.last_at
                && row.mark == place.mark
                && row.backend == place.backend
        };
        let proofs = census.idle.iter().filter(is_proof);
        let first = proofs.filter_map(|row| Some(later(row.online_since?, PROVEN))).min();
        match first {
            Some(first) if first > now => due = earlier(due, Some(first)),
            Some(_) => actions.push(Action::NoteWorks(key)),
            None => {}
        }
    }
    due
}

/// How many more registrations a scope's credential can make before its hour ends, and when that is.
pub(super) fn registrations_left(
    world: &World,
    scope: &ScopeName,
    now: Timestamp,
) -> Option<(u32, Timestamp)> {
    let limit = world.scope(scope)?.rate_limit.filter(|limit| limit.resets_at > now)?;
    let left = limit.remaining.saturating_sub(limit.limit / KEPT);
    Some((left.saturating_sub(unregistered(world, scope)), limit.resets_at))
}

/// How many runners more can be registered while one of them boots. What stands warm and no job waits for asks for nothing yet,
/// and what waits for a backend that makes nothing is not on its way.
pub(crate) fn in_time_left(world: &World, of: &PoolSpec, now: Timestamp) -> u32 {
    let in_time = u32::try_from(of.deadlines.booting.as_secs()).unwrap_or(u32::MAX);
    let makes = |row: &Runner| {
        let key = TroubleKey::Backend { backend: row.backend.clone() };
        world.trouble(&key).is_none()
            && !matches!(breaker(world, &row.backend, now), Breaker::Open(_))
    };
    let pools = world.pools().filter(|pool| pool.state.registers_in.as_ref() == Some(&of.scope));
    let count = pools.map(|pool| {
        let (mut stand, mut come) = (0, 0);
        for row in pool.runners.values().filter(|row| is_unregistered(row)) {
            match (&row.instance, &row.registration) {
                (Instance::Ready { .. }, Registration::None | Registration::Gone { .. }) => {
                    stand += 1;
                }
                (Instance::Planned { .. }, _) => come += usize::from(makes(row)),
                _ => come += 1,
            }
        }
        // Nothing is queued for one that is only kept full: all that stands there may be registered.
        come + if pool.routed { stand.min(pool.queue.len()) } else { stand }
    });
    in_time.saturating_sub(u32::try_from(count.sum::<usize>()).unwrap_or(u32::MAX))
}

/// How many runners more may be made now, and when it may be more: no more are on their way than the credential can still
/// register, nor than it can while one of them boots, for GitHub asks for a second between two writes (protocol.md, 5.5).
pub(super) fn creations_left(
    world: &World,
    of: &PoolSpec,
    now: Timestamp,
) -> (u32, Option<Timestamp>) {
    if rest_waits(world, &of.scope, now) {
        return (0, rest_until(world, &of.scope));
    }
    if world.pool(of.name.as_str()).is_none_or(|pool| pool.group.is_none()) {
        return (0, None);
    }
    match registrations_left(world, &of.scope, now) {
        Some((left, resets_at)) => {
            // Each registration that is made changes the limit, which wakes the pool.
            (left.min(in_time_left(world, of, now)), Some(resets_at))
        }
        None => (u32::MAX, None),
    }
}

/// Runners of a scope that will still ask for a registration.
fn unregistered(world: &World, scope: &ScopeName) -> u32 {
    let pools = world.pools().filter(|pool| pool.state.registers_in.as_ref() == Some(scope));
    let waits = |pool: &Pool| pool.runners.values().filter(|row| is_unregistered(row)).count();
    u32::try_from(pools.map(waits).sum::<usize>()).unwrap_or(u32::MAX)
}

fn is_unregistered(row: &Runner) -> bool {
    row.retiring.is_none()
        && matches!(
            row.instance,
            Instance::Planned { .. }
                | Instance::Creating { .. }
                | Instance::Booting { .. }
                | Instance::Ready { .. }
        )
        && matches!(
            row.registration,
            Registration::None | Registration::Gone { .. } | Registration::Minting { .. }
        )
}
