//! The conditions that a pool's jobs can wait for, in the order in which they have to be met.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{places, status::shown, workflow_job};
use crate::{
    effect::Flight,
    model::{
        Attempt, DemandSource, Instance, PoolSpec, Registration, Runner, ScaleSetSpec,
        ScaleSetTrack, SessionTrack, Spec, Trouble, TroubleKey, later,
    },
    plan::{Breaker, Census, breaker, is_left, limits_at, registrations_left, target_of},
    planted::{Bug, planted},
    world::{Pool, World},
};

/// How long a create call takes at most: then it is given up.
const CREATE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// How long any other call takes at most.
const CALL_MAX: SignedDuration = SignedDuration::from_mins(1);

/// What kind of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// No pool can take the job.
    NoPool,
    /// The pool is not in the configuration, drained or deleted, or the daemon ends.
    PoolClosed,
    /// GitHub refuses the credential, or limits its rate.
    Credential,
    /// The scale set or its session is not there.
    ScaleSet,
    /// The runner group is not known yet, or what the pool was before is not left yet.
    Registering,
    /// The backend can't be reached, or was not listed yet.
    Backend,
    /// Runners failed, and creation waits.
    Creation,
    /// The backends' budgets are used up.
    Budget,
    /// `max` is reached.
    Max,
    /// GitHub is asked whether the jobs still wait.
    Reading,
    /// A runner is on its way.
    Runner,
    /// The next pass decides.
    Pass,
}

/// A condition that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What kind.
    pub kind: ConditionKind,
    /// In words that read after "waits: ".
    pub detail: String,
    /// Until when it is waited out at the latest, where that is known.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        match self.until {
            Some(until) => write!(f, " (until {until:.0} at the latest)"),
            None => Ok(()),
        }
    }
}

/// A wait that is over bounds nothing: the next attempt is under way.
pub(super) fn trouble(
    kind: ConditionKind,
    what: &str,
    trouble: &Trouble,
    now: Timestamp,
) -> Condition {
    Condition {
        kind,
        detail: format!("{what}: {}", trouble.error),
        until: Some(trouble.next_attempt_at).filter(|until| *until > now),
    }
}

/// What a job of this pool waits for, the first to be met first. Empty where a runner is online and idle for it.
#[must_use]
pub fn pool_conditions(world: &World, spec: &Spec, pool: &Pool, now: Timestamp) -> Vec<Condition> {
    let name = &pool.state.name;
    let say = |kind, detail: String, until| Condition { kind, detail, until };
    let mut found = Vec::new();
    let Some(of) = spec.pools.get(name) else {
        let detail = format!("pool {name} is not in the configuration");
        return vec![say(ConditionKind::PoolClosed, detail, None)];
    };
    if pool.state.deleting.is_some() {
        let detail = format!("pool {name} is deleted: `dayfly undrain {name}` makes it anew");
        found.push(say(ConditionKind::PoolClosed, detail, None));
    } else if pool.state.drained.is_some() {
        let detail = format!("pool {name} is drained: `dayfly undrain {name}` ends that");
        found.push(say(ConditionKind::PoolClosed, detail, None));
    }
    if world.is_stopping() {
        found.push(say(ConditionKind::PoolClosed, "the daemon is ending".into(), None));
    }
    let scope = || of.scope.clone();
    let refused = world.trouble(&TroubleKey::Credential { scope: scope() });
    // A scale set asks nothing of the REST API, which has the rate limit.
    let limited = world
        .trouble(&TroubleKey::RateLimit { scope: scope() })
        .filter(|_| of.scale_set().is_none());
    for known in [refused, limited].into_iter().flatten() {
        if known.next_attempt_at > now {
            let what = format!("GitHub refuses scope {}", of.scope);
            found.push(trouble(ConditionKind::Credential, &what, known, now));
        }
    }
    found.extend(match of.scale_set() {
        Some(set) => scale_set_conditions(world, pool, of, set, now),
        None => registering_conditions(world, pool, of, now),
    });
    let census = Census::of(pool);
    found.extend(places::held(world, spec, pool, of, &census, now));
    let (limits, change) = limits_at(of, now);
    // Where no jobs are counted, those that leave keep others from coming, however many are idle.
    let keeps = of.demand == DemandSource::Fixed && census.leaving > 0;
    if census.occupied >= limits.max && (census.idle.is_empty() || keeps) {
        let detail = format!(
            "pool {name} has its max of {} runners: {} busy, {} on their way, {} leaving",
            limits.max,
            census.busy,
            census.live().saturating_sub(census.busy) as usize + census.stalled.len(),
            census.leaving
        );
        found.push(say(ConditionKind::Max, detail, change));
    }
    found.extend(workflow_job::reading(world, spec, pool, now));
    if let Some(runner) = nearest(pool) {
        found.push(runner_condition(world, of, runner, now));
    }
    found.extend(places::proving(world, pool, of, now));
    if found.is_empty() && census.idle.is_empty() {
        found.extend(workflow_job::stood_for(pool, &census, now));
    }
    let missing = of.demand == DemandSource::Fixed
        && target_of(world, spec, pool, of, &census, now).desired > shown(&census);
    // The last word would stand for what is not named.
    if found.is_empty() && (census.idle.is_empty() || missing) && !planted(Bug::ConditionNotNamed) {
        found.push(say(ConditionKind::Pass, "the next pass makes a runner".into(), None));
    }
    found
}

/// What a pool with a scale set waits for at GitHub.
fn scale_set_conditions(
    world: &World,
    pool: &Pool,
    of: &PoolSpec,
    set: &ScaleSetSpec,
    now: Timestamp,
) -> Vec<Condition> {
    let kind = ConditionKind::ScaleSet;
    let mut found = Vec::new();
    if let Some(known) = world.trouble(&TroubleKey::ScaleSet { pool: pool.state.name.clone() }) {
        found.push(trouble(kind, "the scale set is in trouble", known, now));
    }
    if !matches!(pool.state.scale_set, ScaleSetTrack::Present { .. }) {
        let detail = format!("scale set `{}` is not there yet", set.name);
        found.push(Condition { kind, detail, until: None });
    } else if is_left(pool, of) {
        let left = pool.runners.len();
        let detail = format!(
            "scale set `{}` takes the place of the one that the pool had before, after its {left} runners",
            set.name
        );
        found.push(Condition { kind, detail, until: None });
    } else if !matches!(pool.state.session, SessionTrack::Open { .. }) {
        let detail = "the message session is not open yet".into();
        found.push(Condition { kind, detail, until: None });
    }
    found
}

/// What a pool whose runners register by themselves waits for at GitHub.
fn registering_conditions(
    world: &World,
    pool: &Pool,
    of: &PoolSpec,
    now: Timestamp,
) -> Vec<Condition> {
    let kind = ConditionKind::Registering;
    let mut found = Vec::new();
    let mut say = |kind, detail, until| found.push(Condition { kind, detail, until });
    let known = world.trouble(&TroubleKey::ScaleSet { pool: pool.state.name.clone() });
    if let Some(known) = known {
        let what = format!("runner group `{}` can't be looked up", of.group);
        let Condition { detail, until, .. } = trouble(kind, &what, known, now);
        say(kind, detail, until);
    }
    if let Some(id) = pool.state.scale_set.id() {
        let left = pool.runners.len();
        let detail =
            format!("scale set {id}, which the pool had before, to go after its {left} runners");
        say(kind, detail, None);
    } else if pool.state.registers_in.as_ref().is_some_and(|scope| *scope != of.scope) {
        let left = pool.runners.len();
        let detail = format!("the pool's {left} runners of another scope to go");
        say(kind, detail, None);
    } else if pool.group.is_none() {
        say(kind, format!("runner group `{}` is not looked up yet", of.group), None);
    }
    if let Some((0, resets_at)) = registrations_left(world, &of.scope, now) {
        let detail = format!(
            "the requests that the credential of scope {} has left this hour are kept for what is under way",
            of.scope
        );
        say(ConditionKind::Credential, detail, Some(resets_at));
    }
    found
}

/// The runner that is nearest to taking a job.
pub(super) fn nearest(pool: &Pool) -> Option<&Runner> {
    use crate::model::Phase;
    let rank = |runner: &Runner| match runner.phase() {
        Phase::Starting => Some(0),
        Phase::Warm => Some(1),
        Phase::Booting => Some(2),
        Phase::Creating => Some(3),
        Phase::Planned => Some(4),
        _ => None,
    };
    // Of equals the one that has been on its way longest.
    let since = |runner: &Runner| {
        let handed = matches!(runner.registration, Registration::HandedOver { .. });
        (!handed, runner.registration.since().unwrap_or_else(|| runner.instance.since()))
    };
    pool.runners
        .values()
        .filter_map(|runner| Some((rank(runner)?, since(runner), runner)))
        .min_by_key(|(rank, since, _)| (*rank, *since))
        .map(|(.., runner)| runner)
}

/// A runner that is on its way, what it waits for, and its deadline.
fn runner_condition(world: &World, of: &PoolSpec, runner: &Runner, now: Timestamp) -> Condition {
    let (what, until) = coming(world, of, runner, now);
    let detail = format!("runner {} is {} and waits for {what}", runner.name, runner.phase());
    Condition { kind: ConditionKind::Runner, detail, until }
}

/// What a runner that is on its way waits for, in words that read after "waits for", and until when at the latest.
pub(super) fn coming(
    world: &World,
    of: &PoolSpec,
    runner: &Runner,
    now: Timestamp,
) -> (String, Option<Timestamp>) {
    let deadlines = of.deadlines;
    let backend = &runner.backend;
    let after = |what: &str, attempt: Option<&Attempt>| {
        attempt.map_or_else(|| what.to_owned(), |attempt| format!("{what}: {}", attempt.error))
    };
    // A call that was begun late, or again, is waited for beyond the deadline of what it is for.
    let called = |flight: Flight, lasts: SignedDuration, deadline: Timestamp| {
        let answered = world.flying_since(&flight).map(|began| later(began, lasts));
        answered.map_or(deadline, |answered| answered.max(deadline))
    };
    let name = &runner.name;
    let registration_attempt = runner.registration_attempt.as_ref();
    let instance_attempt = runner.instance_attempt.as_ref();
    match (&runner.instance, &runner.registration) {
        (_, Registration::HandedOver { since, .. } | Registration::HandingOver { since, .. }) => {
            // Past that GitHub is asked what became of it, as soon as it may be asked anything.
            let asked = later(*since, deadlines.starting);
            let asked = called(Flight::Instance(name.clone()), CALL_MAX, asked);
            let asked = called(Flight::Registration(name.clone()), CALL_MAX, asked);
            let refused = world.trouble(&TroubleKey::Credential { scope: of.scope.clone() });
            let waits = refused.map(|known| known.next_attempt_at);
            let again = registration_attempt.map(|attempt| attempt.next_at);
            let until = waits.into_iter().chain(again).fold(asked, Timestamp::max);
            ("its runner program to come online".into(), Some(until))
        }
        (_, Registration::InDoubt { .. }) => {
            (after("GitHub's word on what became of it", registration_attempt), None)
        }
        (Instance::Planned { .. }, _) => {
            let places = match breaker(world, backend, now) {
                Breaker::Closed => {
                    world.backend(backend).map_or(0, |view| view.capabilities.creates_max)
                }
                Breaker::HalfOpen(_) => 1,
                Breaker::Open(known) => {
                    let what = format!(
                        "backend {backend}, which is asked for no instance after {} failed create calls in a row",
                        known.failures
                    );
                    return (what, Some(known.next_attempt_at));
                }
            };
            (format!("one of backend {backend}'s {places} places to create"), None)
        }
        (Instance::Creating { since }, _) => {
            // Where names are not unique, what follows the first call, or a restart, are looks by name.
            let looks = world.backend(backend).is_some_and(|view| {
                let first = instance_attempt.is_none() && view.creates > 0;
                !view.capabilities.names_are_unique && !first
            });
            let lasts = if looks { CALL_MAX } else { CREATE_MAX };
            let until = later(*since, deadlines.creating);
            let until = called(Flight::Instance(name.clone()), lasts, until);
            (after(&format!("backend {backend} to create it"), instance_attempt), Some(until))
        }
        (Instance::Booting { since, .. }, _) => {
            ("its instance to boot".into(), Some(later(*since, deadlines.booting)))
        }
        (_, Registration::Minting { since }) => {
            let until = later(*since, deadlines.minting);
            let until = called(Flight::Registration(name.clone()), CALL_MAX, until);
            (after("GitHub to register it", registration_attempt), Some(until))
        }
        (_, Registration::Held { .. }) => ("its hand-over".into(), None),
        // Refused before anything was made: it stays warm until the next attempt.
        (_, Registration::None | Registration::Gone { .. }) if registration_attempt.is_some() => (
            after("GitHub to register it", registration_attempt),
            registration_attempt.map(|attempt| attempt.next_at).filter(|next| *next > now),
        ),
        _ => ("a job that needs it".into(), None),
    }
}
