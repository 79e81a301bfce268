//! Why none of a pool's backends makes a runner now.

use jiff::Timestamp;

use super::condition::{Condition, ConditionKind, nearest, trouble};
use crate::{
    model::{FAILURES_TO_PAUSE, Place, PoolSpec, Spec},
    plan::{Census, Passed, Places, Room, target_of},
    planted::{Bug, planted},
    world::{Pool, World},
};

/// What keeps the pool's places from making a runner. Nothing where one of them can.
pub(super) fn held(
    world: &World,
    spec: &Spec,
    pool: &Pool,
    of: &PoolSpec,
    census: &Census<'_>,
    now: Timestamp,
) -> Vec<Condition> {
    let room = Room::new(world, now);
    let places = Places::new(world, pool, of, now);
    // What is on its way has taken its part of the budget.
    let wants_budget = || {
        let target = target_of(world, spec, pool, of, census, now);
        let short = target.desired.saturating_add(target.warm) > census.live();
        short || nearest(pool).is_none()
    };
    let why = |place: &Place| match places.passed(place, &room)? {
        Passed::Proving(..) => None,
        Passed::Budget(..) if !wants_budget() => None,
        passed => told(place, passed, now),
    };
    if let [place] = of.places.as_slice() {
        let first = match places.passed(place, &room) {
            Some(Passed::Stalled(_)) => None,
            _ => why(place),
        };
        // The pool's own failures are told beside those of the backend.
        let own = world.trouble(&place.creation_key(&of.name));
        let own = own.filter(|known| known.next_attempt_at > now);
        let own =
            own.and_then(|known| told(place, Passed::Creation(known, known.next_attempt_at), now));
        let own = own.filter(|own| first.as_ref() != Some(own));
        return first.into_iter().chain(own).collect();
    }
    let Some(reasons) = of.places.iter().map(why).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let Some(kind) = reasons.first().map(|first| first.kind) else { return Vec::new() };
    let until = reasons.iter().filter_map(|reason| reason.until).min();
    let reasons = reasons.into_iter().map(|reason| match reason.until {
        Some(until) => format!("{} (tried again at {until:.0})", reason.detail),
        None => reason.detail,
    });
    let detail = format!(
        "none of its {} backends makes a runner: {}",
        of.places.len(),
        reasons.collect::<Vec<_>>().join("; ")
    );
    vec![Condition { kind, detail, until }]
}

/// Where runners are made one at a time, since those before them failed, and no other place makes more.
pub(super) fn proving(
    world: &World,
    pool: &Pool,
    of: &PoolSpec,
    now: Timestamp,
) -> Option<Condition> {
    let proves = |place: &Place| {
        let known = world.trouble(&place.creation_key(&of.name));
        known.filter(|known| known.attempts_max(now) < u32::MAX && known.next_attempt_at <= now)
    };
    let found = of.places.iter().find_map(|place| Some((place, proves(place)?)));
    let (place, known) = found.filter(|_| !planted(Bug::ConditionNotNamed))?;
    let room = Room::new(world, now);
    let places = Places::new(world, pool, of, now);
    let mut others = of.places.iter().filter(|other| proves(other).is_none());
    if others.any(|other| places.passed(other, &room).is_none()) {
        return None;
    }
    let what = if known.is_full() {
        format!(
            "backend {} had no room, and is asked for {} at a time until it makes them",
            place.backend,
            known.attempts_max(now)
        )
    } else {
        format!(
            "runners on backend {} are made one at a time until one has a job or waited two minutes for one, after {} failures in a row",
            place.backend, known.failures
        )
    };
    Some(trouble(ConditionKind::Creation, &what, known, now))
}

/// Why a place is passed over, as a condition; `None` where nothing is said of it.
fn told(place: &Place, passed: Passed<'_>, now: Timestamp) -> Option<Condition> {
    let backend = &place.backend;
    let say = |kind, detail, until| Condition { kind, detail, until };
    Some(match passed {
        Passed::Trouble(known) => {
            let what = format!("backend {backend} is in trouble");
            trouble(ConditionKind::Backend, &what, known, now)
        }
        Passed::Unlisted | Passed::Soon(_) => {
            let detail = format!("backend {backend} has not listed its instances yet");
            say(ConditionKind::Backend, detail, None)
        }
        Passed::Breaker(known) if known.next_attempt_at > now => {
            let what = format!(
                "backend {backend} is asked for no instance after {} failed create calls in a row",
                known.failures
            );
            trouble(ConditionKind::Backend, &what, known, now)
        }
        Passed::Breaker(known) => {
            let what = format!(
                "backend {backend} is asked for one instance at a time until one is made, after {} failed create calls in a row",
                known.failures
            );
            trouble(ConditionKind::Backend, &what, known, now)
        }
        Passed::Creation(..) | Passed::Proving(..) if planted(Bug::ConditionNotNamed) => {
            return None;
        }
        Passed::Creation(known, _) | Passed::Proving(known, _) => {
            let what = if known.failures >= FAILURES_TO_PAUSE {
                format!(
                    "creation on backend {backend} is paused after {} failures in a row",
                    known.failures
                )
            } else {
                format!("the last runner on backend {backend} failed")
            };
            trouble(ConditionKind::Creation, &what, known, now)
        }
        Passed::Budget(budget, used) => {
            let detail = format!("backend {backend} is at its budget: {}", budget.told(used));
            say(ConditionKind::Budget, detail, None)
        }
        Passed::Stalled(since) => {
            let detail = format!("backend {backend} does not answer a create call of {since:.0}");
            say(ConditionKind::Backend, detail, None)
        }
    })
}
