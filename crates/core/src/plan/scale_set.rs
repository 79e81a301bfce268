//! A pool's dealings with its scale set: find or make it, keep its one session, poll, acknowledge, acquire.

use jiff::{SignedDuration, Timestamp};

use super::{
    capacity::{advertised_capacity, rises_at, shares_budget},
    census::{Census, passed},
    demand::Demand,
    earlier,
    pool::{credential_until, credential_waits, is_open},
};
use crate::{
    effect::{Flight, ScaleSetCall},
    model::{
        Limits, PoolSpec, ScaleSetSpec, ScaleSetTrack, ScopeName, SessionTrack, Spec, TroubleKey,
        later,
    },
    planted::{Bug, planted},
    world::{Action, Pool, World},
};

/// Without a message for this long, the session is refreshed for fresh counts (F6, F24).
const SILENCE_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Counts and entries may differ this long before the session is refreshed: messages are on their way.
const DIFFERENCE_MAX: SignedDuration = SignedDuration::from_mins(1);

/// While they differ, the session is refreshed at most this often.
const REFRESH_GAP: SignedDuration = SignedDuration::from_mins(2);

/// Plans the scale set of a pool that is in the configuration and stays.
#[expect(clippy::too_many_arguments, reason = "a plan's whole context, read only")]
pub(super) fn plan(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    set: &ScaleSetSpec,
    census: &Census<'_>,
    limits: Limits,
    demand: Demand,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let mut due = note_difference(pool, demand, now, actions);
    if world.is_stopping() {
        return earlier(due, close_session(world, spec, pool, now, actions));
    }
    if let Some(until) = waits_until(world, pool, Some(of), now) {
        return earlier(due, Some(until));
    }
    if pool.state.registers_in.is_some() {
        // Its runners registered by themselves so far: each goes once it is free, and is asked for where it registered.
        if pool.runners.is_empty() {
            actions.push(Action::RegisterIn { pool: pool.state.name.clone(), scope: None });
        }
        return due;
    }
    let scope = &of.scope;
    match &pool.state.scale_set {
        ScaleSetTrack::Unknown | ScaleSetTrack::Creating { .. } => {
            find_or_make(world, pool, of, set, actions);
        }
        ScaleSetTrack::Deleting { id, .. } => {
            // A deletion that was begun before the pool was wanted again is ended first.
            call(world, pool, scope, ScaleSetCall::Delete(*id), actions);
        }
        ScaleSetTrack::Present { scope: made_in, .. } if is_left(pool, of) => {
            // Where the configuration has no credential for it any more, nobody can close its session.
            let closed =
                pool.state.session == SessionTrack::None || !spec.scopes.contains_key(made_in);
            if closed && pool.runners.is_empty() {
                actions.push(Action::LeaveSet(pool.state.name.clone()));
            } else {
                due = earlier(due, close_session(world, spec, pool, now, actions));
            }
        }
        ScaleSetTrack::Present { id, group, group_name, name, labels, .. } => {
            let wanted = of.all_labels();
            let refused = pool.labels_refused.as_ref() == Some(&wanted);
            let moves = group_name.as_ref().is_some_and(|known| *known != of.group);
            if moves && pool.group.is_none() {
                call(world, pool, scope, ScaleSetCall::FindGroup(of.group.clone()), actions);
            } else if moves || !refused && !crate::world::same_labels(&wanted, labels) {
                let update = ScaleSetCall::Update {
                    id: *id,
                    group: pool.group.filter(|_| moves).unwrap_or(*group),
                    name: name.clone(),
                    labels: wanted,
                };
                call(world, pool, scope, update, actions);
            } else {
                let capacity = advertised_capacity(world, spec, pool, of, limits, census, now);
                due = earlier(
                    due,
                    converse(world, spec, pool, of, census, capacity, demand, now, actions),
                );
            }
        }
    }
    due
}

/// Whether the pool's set is not the one that it is to have: then its runners go, and it is left at GitHub.
pub(crate) fn is_left(pool: &Pool, of: &PoolSpec) -> bool {
    match (&pool.state.scale_set, of.scale_set()) {
        (ScaleSetTrack::Present { scope, name, .. }, Some(set)) => {
            *scope != of.scope || *name != set.name
        }
        _ => false,
    }
}

/// Finds the pool's set, or makes it. A set that the store did not make is taken only where the pool says so.
fn find_or_make(
    world: &World,
    pool: &Pool,
    of: &PoolSpec,
    wanted: &ScaleSetSpec,
    actions: &mut Vec<Action>,
) {
    let name = &pool.state.name;
    let scope = &of.scope;
    if let Some((record, made)) = &pool.found {
        let unused = record.statistics.is_some_and(|statistics| statistics.registered == 0);
        if *made || (wanted.adopt && unused) || planted(Bug::ForeignSetTaken) {
            let take = Action::Take {
                pool: name.clone(),
                scope: scope.clone(),
                record: record.clone(),
                made: *made,
            };
            return actions.push(take);
        }
        let why = if wanted.adopt {
            format!(
                "scale set `{}` of group `{}` has runners and is not ours: remove them, or give the pool another `scale_set`",
                record.name, of.group
            )
        } else {
            format!(
                "scale set `{}` of group `{}` exists and is not ours: set `adopt: true` to take it over, or give the pool \
                 another `scale_set`",
                record.name, of.group
            )
        };
        return actions.push(Action::RefuseSet { pool: name.clone(), why });
    }
    let Some(group) = pool.group else {
        return call(world, pool, scope, ScaleSetCall::FindGroup(of.group.clone()), actions);
    };
    if pool.set_absent {
        if !world.is_flying(&Flight::ScaleSet(name.clone())) {
            actions.push(Action::CreateSet {
                pool: name.clone(),
                scope: scope.clone(),
                group,
                name: wanted.name.clone(),
                labels: of.all_labels(),
            });
        }
        return;
    }
    call(world, pool, scope, ScaleSetCall::Find { group, name: wanted.name.clone() }, actions);
}

/// The session, its messages, and what they ask for.
#[expect(clippy::too_many_arguments, reason = "a plan's whole context, read only")]
fn converse(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    census: &Census<'_>,
    capacity: u32,
    demand: Demand,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let set = pool.state.scale_set.id()?;
    let scope = &of.scope;
    let name = &pool.state.name;
    let session = match &pool.state.session {
        SessionTrack::None => {
            // What the old session still says would be taken for the new one's word.
            if !world.is_conversing(name) {
                call(world, pool, scope, ScaleSetCall::OpenSession(set), actions);
            } else if pool.polled_capacity.is_some() {
                actions.push(Action::StopPoll(name.clone()));
            }
            return None;
        }
        // The last life of the daemon left it: a refresh takes it up again, with fresh counts.
        SessionTrack::Stored { id } => {
            call(world, pool, scope, ScaleSetCall::RefreshSession(set, id.clone()), actions);
            return None;
        }
        SessionTrack::Closing { id, .. } => {
            let close = Action::CloseSession {
                pool: name.clone(),
                scope: scope.clone(),
                set,
                session: id.clone(),
            };
            if !world.is_flying(&Flight::ScaleSet(name.clone())) {
                actions.push(close);
            }
            return None;
        }
        SessionTrack::Open { id, .. } => id,
    };
    let mut due = acknowledge(world, pool, scope, set, now, actions);
    // With the end of a pause the pool can promise something again.
    due = earlier(due, rises_at(world, of, now));
    note_unheard(pool, capacity, demand, now, actions);
    if refresh_due(pool, demand, now, &mut due) && !planted(Bug::StatisticsNeverRefreshed) {
        call(world, pool, scope, ScaleSetCall::RefreshSession(set, session.clone()), actions);
    } else if is_open(world, spec, pool) && unheard_due(pool, capacity, demand) {
        return earlier(due, close_session(world, spec, pool, now, actions));
    } else if is_open(world, spec, pool) {
        acquire(world, pool, scope, census, capacity, demand, actions);
    }
    if !world.is_flying(&Flight::Poll(name.clone())) {
        actions.push(Action::Poll { pool: name.clone(), scope: scope.clone(), set, capacity });
    } else if let Some(polled) = pool.polled_capacity {
        // GitHub reads the capacity once for each poll: one that keeps jobs back, or asks for jobs that nobody can
        // take, is not waited out.
        let given = pool.state.statistics.map_or(0, |(statistics, _)| statistics.assigned);
        let keeps_back = capacity > polled && given >= polled;
        // Others took of a budget what it says.
        let takes_back = capacity < polled && shares_budget(world, of);
        if keeps_back || takes_back || (capacity == 0 && polled > 0) {
            actions.push(Action::StopPoll(name.clone()));
        }
    }
    due
}

/// Messages that are stored are deleted at GitHub, each as often as it takes.
fn acknowledge(
    world: &World,
    pool: &Pool,
    scope: &ScopeName,
    set: crate::model::ScaleSetId,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let attempt_at = pool.acknowledge_attempt.as_ref().map(|attempt| attempt.next_at);
    if pool.state.unacknowledged.is_empty() {
        return None;
    }
    if !passed(attempt_at, now) {
        return attempt_at;
    }
    let name = &pool.state.name;
    for message in &pool.state.unacknowledged {
        if !world.is_flying(&Flight::Acknowledge(name.clone(), *message)) {
            actions.push(Action::Acknowledge {
                pool: name.clone(),
                scope: scope.clone(),
                set,
                message: *message,
            });
        }
    }
    None
}

/// Acquires what can be served (acquire mode): no more than the capacity that is left.
fn acquire(
    world: &World,
    pool: &Pool,
    scope: &ScopeName,
    census: &Census<'_>,
    capacity: u32,
    demand: Demand,
    actions: &mut Vec<Action>,
) {
    let taken = demand.jobs.max(census.busy);
    let left = capacity.saturating_sub(taken) as usize;
    let Some(set) = pool.state.scale_set.id() else { return };
    let mut jobs: Vec<_> = pool.available.iter().filter_map(|id| pool.jobs.get(id)).collect();
    jobs.sort_by_key(|job| (job.queued_at, job.request_id));
    let requests: Vec<i64> = jobs.iter().take(left).map(|job| job.request_id).collect();
    if !requests.is_empty() {
        call(world, pool, scope, ScaleSetCall::Acquire(set, requests), actions);
    }
}

fn refresh_due(pool: &Pool, demand: Demand, now: Timestamp, due: &mut Option<Timestamp>) -> bool {
    let mut reached = |at: Timestamp| {
        if at <= now {
            return true;
        }
        *due = earlier(*due, Some(at));
        false
    };
    let gap = pool.refreshed_at.map_or(now, |at| later(at, REFRESH_GAP));
    if let Some(heard) = pool.heard_at
        && reached(later(heard, SILENCE_MAX))
    {
        return true;
    }
    let oldest_end = pool.finished.values().map(|finished| finished.at).min();
    let differs = pool.differs_since.filter(|_| demand.differs());
    let unheard = pool.unheard_since.filter(|_| !is_unheard_proved(pool));
    let oldest = earlier(oldest_end, earlier(differs, unheard));
    oldest.is_some_and(|since| reached(later(since, DIFFERENCE_MAX).max(gap)))
}

/// Whether jobs wait of which no message tells. An offer whose message was lost on its way is made again to a new session
/// alone (acquire mode): where counts go on to tell of more jobs than were offered, and there is room for them, the session is
/// closed and opened anew, whatever other messages come meanwhile. One that never had a message has lost none.
fn unheard_due(pool: &Pool, capacity: u32, demand: Demand) -> bool {
    is_unheard(pool, capacity, demand) && is_unheard_proved(pool)
}

fn is_unheard(pool: &Pool, capacity: u32, demand: Demand) -> bool {
    let offered = u32::try_from(pool.available.len()).unwrap_or(u32::MAX);
    let counted = pool.state.statistics.map_or(0, |(counts, _)| counts.available);
    let room = capacity > demand.jobs.saturating_add(offered);
    counted > offered && room && pool.state.cursor.0 != 0
}

/// Whether counts that are newer by the time that messages take still tell of jobs that were not offered.
fn is_unheard_proved(pool: &Pool) -> bool {
    let told_at = pool.state.statistics.map(|(_, told_at)| told_at);
    let since = pool.unheard_since.map(|since| later(since, DIFFERENCE_MAX));
    since.zip(told_at).is_some_and(|(since, told_at)| told_at >= since)
}

fn note_unheard(
    pool: &Pool,
    capacity: u32,
    demand: Demand,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let since = match (is_unheard(pool, capacity, demand), pool.unheard_since) {
        (true, None) => Some(now),
        (false, Some(_)) => None,
        _ => return,
    };
    actions.push(Action::NoteUnheard { pool: pool.state.name.clone(), since });
}

fn note_difference(
    pool: &Pool,
    demand: Demand,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let since = match (demand.differs(), pool.differs_since) {
        (true, None) => Some(now),
        (false, Some(_)) => None,
        _ => return None,
    };
    actions.push(Action::NoteDifference { pool: pool.state.name.clone(), since });
    None
}

/// Plans the scale set of a pool that is deleted, or no longer in the configuration: its session is closed, and where
/// a user deleted the pool its set goes once no runner can have a job.
pub(super) fn plan_leaving(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let of = spec.pools.get(&pool.state.name);
    if pool.state.session != SessionTrack::None {
        return close_session(world, spec, pool, now, actions);
    }
    if pool.state.deleting.is_none() || world.is_stopping() {
        return None;
    }
    if let Some(until) = waits_until(world, pool, of, now) {
        return Some(until);
    }
    match &pool.state.scale_set {
        ScaleSetTrack::Present { id, scope, .. } => {
            if pool.runners.is_empty() && spec.scopes.contains_key(scope) {
                call(world, pool, scope, ScaleSetCall::Delete(*id), actions);
            }
        }
        ScaleSetTrack::Deleting { id, .. } => {
            if let Some(scope) =
                world.scope_of(pool.state.name.as_str()).or_else(|| of.map(|of| of.scope.clone()))
            {
                call(world, pool, &scope, ScaleSetCall::Delete(*id), actions);
            }
        }
        // Its answer was lost, or another life of the daemon asked: what GitHub made all the same does not stay.
        ScaleSetTrack::Creating { .. } if of.is_some() && !pool.set_absent => {
            if let Some(of) = of
                && let Some(set) = of.scale_set()
            {
                find_or_make(world, pool, of, set, actions);
            }
        }
        ScaleSetTrack::Unknown | ScaleSetTrack::Creating { .. } => {
            if pool.runners.is_empty() && of.is_none() {
                actions.push(Action::ForgetPool(pool.state.name.clone()));
            }
        }
    }
    None
}

/// Closes the session, if there is one: the poll first, for it would see the session go.
pub(super) fn close_session(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let name = &pool.state.name;
    let (Some(session), Some(set)) = (pool.state.session.id(), pool.state.scale_set.id()) else {
        return None;
    };
    let scope = world.scope_of(name.as_str()).filter(|scope| spec.scopes.contains_key(scope))?;
    if world.is_flying(&Flight::Poll(name.clone())) {
        if pool.polled_capacity.is_some() {
            actions.push(Action::StopPoll(name.clone()));
        }
        return None;
    }
    if let Some(until) = waits_until(world, pool, spec.pools.get(name), now) {
        return Some(until);
    }
    if !world.is_flying(&Flight::ScaleSet(name.clone())) {
        actions.push(Action::CloseSession {
            pool: name.clone(),
            scope,
            set,
            session: session.clone(),
        });
    }
    None
}

pub(super) fn call(
    world: &World,
    pool: &Pool,
    scope: &ScopeName,
    call: ScaleSetCall,
    actions: &mut Vec<Action>,
) {
    let name = &pool.state.name;
    if !world.is_flying(&Flight::ScaleSet(name.clone())) {
        actions.push(Action::CallSet { pool: name.clone(), scope: scope.clone(), call });
    }
}

/// Until when the pool's own trouble with GitHub, or its credential's, is waited out.
pub(super) fn waits_until(
    world: &World,
    pool: &Pool,
    of: Option<&PoolSpec>,
    now: Timestamp,
) -> Option<Timestamp> {
    let own = world
        .trouble(&TroubleKey::ScaleSet { pool: pool.state.name.clone() })
        .map(|trouble| trouble.next_attempt_at)
        .filter(|until| *until > now);
    let scope = world.scope_of(pool.state.name.as_str()).or_else(|| of.map(|of| of.scope.clone()));
    let credential = scope
        .filter(|scope| credential_waits(world, scope, now))
        .and_then(|scope| credential_until(world, &scope));
    match (own, credential) {
        (Some(own), Some(credential)) => Some(own.max(credential)),
        (own, None) => own,
        (None, credential) => credential,
    }
}
