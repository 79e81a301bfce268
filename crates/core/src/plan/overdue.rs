//! Jobs that wait too long for a runner: told before GitHub takes them back.

use jiff::{SignedDuration, Timestamp};

use super::{census::Census, earlier};
use crate::{
    model::later,
    world::{Action, Pool},
};

/// GitHub takes an assigned job back after five minutes (F15); a minute before, nobody can expect a runner in time.
const ASSIGNED_MAX: SignedDuration = SignedDuration::from_mins(4);

/// Alarms for assigned jobs past their deadline, once each. Busy runners whose job no message told stand for the oldest.
pub(super) fn plan(
    pool: &Pool,
    census: &Census<'_>,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let mut due = None;
    let mut overdue = Vec::new();
    for (since, id) in census.waiting.iter().copied() {
        let deadline = later(since, ASSIGNED_MAX);
        if deadline > now {
            due = earlier(due, Some(deadline));
        } else {
            overdue.push((since, id));
        }
    }
    overdue.sort();
    for (since, id) in overdue.into_iter().skip(census.busy_unknown as usize) {
        if !pool.overdue.contains(id) {
            actions.push(Action::NoteOverdue {
                pool: pool.state.name.clone(),
                job: id.clone(),
                since,
            });
        }
    }
    due
}
