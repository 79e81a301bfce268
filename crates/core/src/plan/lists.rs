//! When engines and GitHub are listed whole.

use jiff::{SignedDuration, Timestamp};

use crate::{
    effect::Flight,
    model::{ScopeName, Spec, TroubleKey, later},
    planted::{Bug, planted},
    world::{Action, Pool, World},
};

/// Engines and GitHub's registrations are listed this often though nothing happens.
pub(super) const EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Where runners register by themselves and no webhook tells which of them have jobs: their scope is listed this often for each page
/// of its list, so that it costs at most 60 requests an hour.
const EVERY_FOR_FIXED: SignedDuration = SignedDuration::from_mins(1);

/// How long ended registrations gather before one list proves them all gone.
pub(super) const GATHER: SignedDuration = SignedDuration::from_secs(10);

/// Registrations in one page of GitHub's list.
const PAGE: usize = 100;

pub(super) fn plan(world: &World, spec: &Spec, now: Timestamp, actions: &mut Vec<Action>) {
    for (name, backend) in world.backends() {
        let periodic = |at| later(at, EVERY) <= now && !planted(Bug::NeverListedAgain);
        let due = backend.list_due || backend.listed_at.is_none_or(periodic);
        let waits = world
            .trouble(&TroubleKey::Backend { backend: name.clone() })
            .is_some_and(|trouble| trouble.next_attempt_at > now);
        if due && !waits && !world.is_flying(&Flight::ListInstances(name.clone())) {
            actions.push(Action::ListInstances(name.clone()));
        }
    }
    for name in spec.scopes.keys() {
        if registrations_due(world, name, now)
            && !super::pool::rest_waits(world, name, now)
            && !world.is_flying(&Flight::ListRegistrations(name.clone()))
        {
            actions.push(Action::ListRegistrations(name.clone()));
        }
    }
}

/// When the next list of a backend or a scope is due though nothing happens.
pub(super) fn next_due(world: &World, now: Timestamp) -> Option<Timestamp> {
    let backends = world.backends().filter_map(|(name, backend)| {
        if world.is_flying(&Flight::ListInstances(name.clone())) {
            return None;
        }
        let wait = world
            .trouble(&TroubleKey::Backend { backend: name.clone() })
            .map(|t| t.next_attempt_at);
        let due = match backend.listed_at {
            Some(at) if !backend.list_due => later(at, EVERY),
            _ => now,
        };
        Some(wait.map_or(due, |wait| wait.max(due)))
    });
    let scopes = world.scopes().filter_map(|(name, view)| {
        if world.is_flying(&Flight::ListRegistrations(name.clone())) {
            return None;
        }
        let periodic = has_set(world, name)
            .then(|| view.listed_at.map_or(now, |at| later(at, every(world, name))));
        let due = super::earlier(duty_at(world, name, view.listed_at), periodic)?;
        let due = view.attempt.as_ref().map_or(due, |attempt| attempt.next_at.max(due));
        Some(super::pool::rest_until(world, name).map_or(due, |until| until.max(due)))
    });
    backends.chain(scopes).min()
}

/// How often a scope's registrations are listed though nothing happens.
fn every(world: &World, scope: &ScopeName) -> SignedDuration {
    let alone =
        of_scope(world, scope).any(|pool| pool.state.registers_in.is_some() && !pool.routed);
    if !alone {
        return EVERY;
    }
    let pages = world.scope(scope).map_or(1, |view| view.size / PAGE + 1);
    EVERY_FOR_FIXED.saturating_mul(i32::try_from(pages).unwrap_or(i32::MAX)).min(EVERY)
}

/// The oldest registration to be proved gone by its absence, and how many there are.
fn absences(world: &World, scope: &ScopeName) -> (Option<Timestamp>, usize) {
    let mut oldest = None;
    let mut count = 0;
    for pool in of_scope(world, scope) {
        oldest = super::earlier(oldest, pool.absences.first().map(|(since, _)| *since));
        count += pool.absences.len();
    }
    (oldest, count)
}

fn of_scope<'a>(world: &'a World, scope: &'a ScopeName) -> impl Iterator<Item = &'a Pool> {
    world.pools().filter(move |pool| !pool.runners.is_empty() && pool.made_in() == Some(scope))
}

fn has_set(world: &World, scope: &ScopeName) -> bool {
    world.pools().any(|pool| pool.made_in() == Some(scope))
}

fn registrations_due(world: &World, scope: &ScopeName, now: Timestamp) -> bool {
    let Some(view) = world.scope(scope) else { return false };
    let attempt_at = view.attempt.as_ref().map(|attempt| attempt.next_at);
    if !has_set(world, scope) || !super::census::passed(attempt_at, now) {
        return false;
    }
    let Some(listed_at) = view.listed_at else {
        return true;
    };
    if later(listed_at, every(world, scope)) <= now {
        return true;
    }
    duty_at(world, scope, Some(listed_at)).is_some_and(|at| at <= now)
}

/// When a list is due to prove ended registrations gone: after they gathered, at once where no other runner is left to
/// wait for, and ten seconds after the last list at the earliest. `None` where looks by name cost less.
fn duty_at(world: &World, scope: &ScopeName, listed_at: Option<Timestamp>) -> Option<Timestamp> {
    let (oldest, count) = absences(world, scope);
    let oldest = oldest.filter(|_| !is_fewer_than_pages(world, scope, count))?;
    let rows: usize = of_scope(world, scope).map(|pool| pool.runners.len()).sum();
    let gathered = if rows == count { oldest } else { later(oldest, GATHER) };
    Some(listed_at.map_or(gathered, |at| later(at, GATHER).max(gathered)))
}

/// Whether looking names up one by one costs fewer requests than a list of the whole scope.
pub(super) fn by_name(world: &World, scope: &ScopeName) -> bool {
    is_fewer_than_pages(world, scope, absences(world, scope).1)
}

fn is_fewer_than_pages(world: &World, scope: &ScopeName, count: usize) -> bool {
    count < world.scope(scope).map_or(1, |view| view.size / PAGE + 1)
}
