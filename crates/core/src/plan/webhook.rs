//! A pool that hears webhooks: its demand is the jobs that go to it, and what may not be true any more is asked for before a
//! runner is made for it.

use jiff::{SignedDuration, Timestamp};

use super::{
    catch_up,
    census::Census,
    demand::Demand,
    earlier,
    pool::{Target, rest_until, rest_waits},
};
use crate::{
    effect::Flight,
    model::{PoolSpec, later},
    world::{Action, Pool, QUEUE_BELIEVED, World},
};

/// How long the news of a job may take after its runner was seen to have it: until then the runner stands for a job that waits.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// How many jobs of a scope are read at once: looks are rare, and GitHub asks for few requests at a time.
pub(super) const READS_MAX: usize = 8;

/// Reckons the demand of jobs that were told one by one. A runner whose job nobody told, busy or ended, stands for one that
/// waits, as there is no binding between a job and a runner; where the news does not come, what was told before it is doubted.
pub(super) fn demand(pool: &Pool, census: &Census<'_>, now: Timestamp) -> Demand {
    let ended = pool.finished.values().filter(|end| end.job.is_none()).map(|end| end.at);
    let mut standing = 0_usize;
    let mut doubted = pool.doubted;
    let mut changes_at = None;
    for since in census.untold.iter().copied().chain(ended) {
        let until = later(since, TOLD_WITHIN);
        if until > now {
            standing += 1;
            changes_at = earlier(changes_at, Some(until));
        } else {
            // What was told at that very time was told before.
            doubted = doubted.max(Some(later(since, SignedDuration::from_nanos(1))));
        }
    }
    let is_doubted = |heard_at: Timestamp| {
        later(heard_at, QUEUE_BELIEVED) <= now || doubted.is_some_and(|doubted| heard_at < doubted)
    };
    let unsure = pool.queue.iter().take_while(|(heard_at, _)| is_doubted(*heard_at)).count();
    let first_sure = pool.queue.iter().nth(unsure);
    changes_at =
        earlier(changes_at, first_sure.map(|(heard_at, _)| later(*heard_at, QUEUE_BELIEVED)));
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let waiting = pool.queue.len().saturating_sub(standing);
    // The oldest are stood for first, and what is doubted is older than what is not.
    let surely = (pool.queue.len() - unsure).saturating_sub(standing.saturating_sub(unsure));
    let jobs = count(waiting).saturating_add(census.busy);
    Demand {
        jobs,
        sure: count(surely).saturating_add(census.busy),
        unsure: count(unsure),
        by_counts: jobs,
        by_entries: jobs,
        changes_at,
    }
}

/// Asks for the jobs that runners would be made for and that may have ended meanwhile, the oldest first.
pub(super) fn plan(
    world: &World,
    pool: &Pool,
    of: &PoolSpec,
    census: &Census<'_>,
    (demand, target): (Demand, Target),
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let need = to_read(census, target);
    if need == 0 || world.is_stopping() {
        return None;
    }
    let until = reads_wait_until(world, of, now);
    let scope = world.scope(&of.scope)?;
    // A list that is on its way tells of all of them.
    let listed =
        world.is_flying(&Flight::CatchUp(of.scope.clone())) || catch_up::is_due(scope, now);
    if until.is_some() || listed {
        return until;
    }
    // What a list missed is read for the scope.
    let doubted = pool.queue.iter().take(demand.unsure as usize).map(|(_, id)| *id);
    let doubted = doubted.filter(|id| !scope.catch_up.missing.contains(id)).take(need);
    let asked = doubted
        .filter(|id| !world.is_flying(&Flight::ReadJob(of.scope.clone(), *id)))
        .take(READS_MAX.saturating_sub(world.reads(&of.scope)));
    actions.extend(asked.map(|job| Action::ReadJob { scope: of.scope.clone(), job }));
    None
}

/// How many jobs are to be read before runners are made for them.
pub(crate) fn to_read(census: &Census<'_>, target: Target) -> usize {
    target.desired.saturating_sub(target.sure.max(census.serving)) as usize
}

/// Until when no job can be read, where that is so.
pub(super) fn reads_wait_until(world: &World, of: &PoolSpec, now: Timestamp) -> Option<Timestamp> {
    if rest_waits(world, &of.scope, now) {
        return rest_until(world, &of.scope);
    }
    let attempt = world.scope(&of.scope)?.catch_up.read_attempt.as_ref()?;
    Some(attempt.next_at).filter(|next_at| *next_at > now)
}
