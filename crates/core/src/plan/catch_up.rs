//! When a scope's jobs are caught up on: what its webhooks may not have told.

use jiff::{SignedDuration, Timestamp};

use super::{
    census::passed,
    earlier,
    pool::{rest_until, rest_waits},
    webhook::READS_MAX,
};
use crate::{
    effect::Flight,
    model::{ScopeName, Spec, WorkflowJobId, later},
    planted::{Bug, planted},
    world::{Action, ScopeView, World},
};

/// What runs and waits is listed this often, and at the start: a delivery that was lost is made good within this time.
pub(super) const EVERY: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn plan(world: &World, spec: &Spec, now: Timestamp, actions: &mut Vec<Action>) {
    if world.is_stopping() {
        return;
    }
    for name in world.routes().scopes() {
        let (Some(view), Some(of)) = (world.scope(name), spec.scopes.get(name)) else { continue };
        if rest_waits(world, name, now) || world.is_flying(&Flight::CatchUp(name.clone())) {
            continue;
        }
        if is_due(view, now) {
            let repositories = of.repositories.clone();
            actions.push(Action::CatchUp { scope: name.clone(), repositories });
            continue;
        }
        if passed(view.catch_up.read_attempt.as_ref().map(|attempt| attempt.next_at), now) {
            let asked = unasked(world, name, view)
                .take(READS_MAX.saturating_sub(world.reads(name)))
                .map(|job| Action::ReadJob { scope: name.clone(), job });
            actions.extend(asked);
        }
    }
}

/// Jobs that a list missed and that are not being read.
fn unasked<'a>(
    world: &'a World,
    scope: &'a ScopeName,
    view: &'a ScopeView,
) -> impl Iterator<Item = WorkflowJobId> + 'a {
    let flies = |job: &WorkflowJobId| world.is_flying(&Flight::ReadJob(scope.clone(), *job));
    view.catch_up.missing.iter().copied().filter(move |job| !flies(job))
}

/// Whether a list is due.
pub(super) fn is_due(view: &ScopeView, now: Timestamp) -> bool {
    due_at(view, now) <= now
}

fn due_at(view: &ScopeView, now: Timestamp) -> Timestamp {
    if planted(Bug::NeverCaughtUp) && view.catch_up.done_at.is_some() {
        return Timestamp::MAX;
    }
    let due = view.catch_up.done_at.map_or(now, |at| later(at, EVERY));
    view.catch_up.attempt.as_ref().map_or(due, |attempt| attempt.next_at)
}

/// When the next list, or a look that had to wait, is due though nothing happens.
pub(super) fn next_due(world: &World, now: Timestamp) -> Option<Timestamp> {
    if world.is_stopping() {
        return None;
    }
    let scopes = world.routes().scopes();
    let dues = scopes.into_iter().filter_map(|name| {
        let view = world.scope(name)?;
        if world.is_flying(&Flight::CatchUp(name.clone())) {
            return None;
        }
        let again = view.catch_up.read_attempt.as_ref().map(|attempt| attempt.next_at);
        let again = again.filter(|at| *at > now && unasked(world, name, view).next().is_some());
        let due = earlier(Some(due_at(view, now)), again)?;
        Some(rest_until(world, name).map_or(due, |until| until.max(due)))
    });
    dues.min()
}
