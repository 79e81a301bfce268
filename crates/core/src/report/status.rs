//! The whole controller at a glance.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::condition::{Condition, ConditionKind, pool_conditions};
use crate::{
    model::{
        BackendName, DemandSource, Phase, Program, ProgramState, ScaleSetTrack, SessionTrack, Spec,
        Statistics, Trouble, TroubleKey,
    },
    plan::{Breaker, Census, advertised_capacity, breaker, demand, limits_at, target_of},
    world::{BackendView, World},
};

/// The whole controller at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its id, as its instances' tags have it.
    pub controller: String,
    /// The time of this view.
    pub at: Timestamp,
    /// Whether it is ending.
    pub stopping: bool,
    /// Pools by name.
    pub pools: Vec<PoolStatus>,
    /// Backends by name.
    pub backends: Vec<BackendStatus>,
    /// Scopes by name.
    pub scopes: Vec<ScopeStatus>,
}

/// A pool at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// open, drained, deleting, deleted, or not in the configuration.
    pub state: String,
    /// scale-set, webhook or fixed; empty where it is not in the configuration.
    #[serde(default)]
    pub demand: String,
    /// Runners kept online and idle beside the busy ones, as is in force.
    #[serde(default)]
    pub min_idle: u32,
    /// The id of its scale set, where there is one.
    pub scale_set: Option<i64>,
    /// The version of the runner program that is put into its instances, where it is at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_version: Option<String>,
    /// From when on GitHub refuses that version, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_refused_from: Option<Timestamp>,
    /// Whether its session stands.
    pub session: bool,
    /// Runners wanted for jobs and `min_idle`.
    pub desired: u32,
    /// Warm instances wanted beside them.
    pub warm: u32,
    /// The limit in force.
    pub max: u32,
    /// The capacity that it advertises.
    pub capacity: u32,
    /// Runners by phase.
    pub phases: BTreeMap<Phase, usize>,
    /// Jobs that were given to it, or go to it, and are not started.
    pub jobs_waiting: usize,
    /// GitHub's newest counts, and when they came.
    pub statistics: Option<(Statistics, Timestamp)>,
    /// What its jobs wait for, the first to be met first. Where no job is known to wait: what the next one of an
    /// open pool would wait for, as far as it is more than a runner of its own.
    pub waits_for: Vec<Condition>,
}

/// A backend at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// When its newest complete list was begun.
    pub listed_at: Option<Timestamp>,
    /// Whether its events are followed.
    pub watched: bool,
    /// Create calls under way.
    pub creates: u32,
    /// Its trouble, and until when it is waited out.
    pub trouble: Option<(String, Timestamp)>,
    /// Whether create calls are made on it: `closed`: they are; `open`: none is for a while; `half-open`: one at a time.
    #[serde(default)]
    pub breaker: String,
    /// What its last create calls failed with, and when the next is made, while the breaker is not closed.
    #[serde(default)]
    pub breaker_trouble: Option<(String, Timestamp)>,
    /// Instances of all pools that may live.
    #[serde(default)]
    pub runners: u32,
    /// What is used of its budget, in words; empty where it has none.
    #[serde(default)]
    pub budget: String,
}

/// A scope at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// GitHub's refusal of its credential, and until when it is waited out.
    pub trouble: Option<(String, Timestamp)>,
    /// When its workflow jobs were last caught up on, where a pool hears webhooks.
    #[serde(default)]
    pub caught_up_at: Option<Timestamp>,
    /// Why they are not, and when that is tried again.
    #[serde(default)]
    pub catch_up_trouble: Option<(String, Timestamp)>,
}

/// The whole controller at a glance.
#[must_use]
pub fn status(world: &World, spec: &Spec, now: Timestamp) -> Status {
    let trouble = |key: &TroubleKey| {
        world.trouble(key).map(|known| (known.error.clone(), known.next_attempt_at))
    };
    Status {
        controller: world.controller().to_string(),
        at: now,
        stopping: world.is_stopping(),
        pools: world.pools().map(|pool| pool_status(world, spec, pool, now)).collect(),
        backends: world
            .backends()
            .map(|(name, backend)| backend_status(world, name, backend, now))
            .collect(),
        scopes: spec
            .scopes
            .iter()
            .map(|(name, scope)| {
                let catch_up = world.scope(name).map(|view| &view.catch_up);
                let failed = catch_up.and_then(|view| view.attempt.as_ref());
                ScopeStatus {
                    name: name.to_string(),
                    url: scope.url.clone(),
                    trouble: trouble(&TroubleKey::Credential { scope: name.clone() })
                        .or_else(|| trouble(&TroubleKey::RateLimit { scope: name.clone() })),
                    caught_up_at: catch_up.and_then(|view| view.done_at),
                    catch_up_trouble: failed.map(|failed| (failed.error.clone(), failed.next_at)),
                }
            })
            .collect(),
    }
}

fn backend_status(
    world: &World,
    name: &BackendName,
    backend: &BackendView,
    now: Timestamp,
) -> BackendStatus {
    let told = |known: &Trouble| (known.error.clone(), known.next_attempt_at);
    let (breaker, failed) = match breaker(world, name, now) {
        Breaker::Closed => ("closed", None),
        Breaker::Open(known) => ("open", Some(known)),
        Breaker::HalfOpen(known) => ("half-open", Some(known)),
    };
    BackendStatus {
        name: name.to_string(),
        listed_at: backend.listed_at,
        watched: backend.watched,
        creates: backend.creates,
        trouble: world.trouble(&TroubleKey::Backend { backend: name.clone() }).map(told),
        breaker: breaker.to_owned(),
        breaker_trouble: failed.map(told),
        runners: backend.used.runners,
        budget: backend.budget.told(backend.used),
    }
}

/// Runners that wait for a job or have one.
pub(super) fn shown(census: &Census<'_>) -> u32 {
    census.busy.saturating_add(u32::try_from(census.idle.len()).unwrap_or(u32::MAX))
}

fn pool_status(
    world: &World,
    spec: &Spec,
    pool: &crate::world::Pool,
    now: Timestamp,
) -> PoolStatus {
    let of = spec.pools.get(&pool.state.name);
    let census = Census::of(pool);
    let target = of.map(|of| target_of(world, spec, pool, of, &census, now));
    let state = match of {
        _ if pool.state.deleting.is_some() => {
            let gone = pool.runners.is_empty()
                && pool.state.scale_set == ScaleSetTrack::Unknown
                && !pool.state.has_duty();
            if gone { "deleted" } else { "deleting" }
        }
        None => "not in the configuration",
        _ if pool.state.drained.is_some() => "drained",
        _ => "open",
    };
    let mut phases = BTreeMap::new();
    for runner in pool.runners.values() {
        *phases.entry(runner.phase()).or_default() += 1;
    }
    let waiting = pool.waiting.len() + pool.available.len() + pool.queue.len();
    let short = match (of.map(|of| &of.demand), target) {
        (Some(DemandSource::Fixed), Some(target)) => shown(&census) < target.desired,
        _ => demand(pool, &census, now).jobs > census.busy,
    };
    let mut waits_for = pool_conditions(world, spec, pool, now);
    if waiting == 0 && !short {
        waits_for.retain(|condition| state == "open" && condition.kind < ConditionKind::Max);
    }
    let (runner_version, runner_refused_from) = match of.and_then(|of| of.program()) {
        Some(Program { state: ProgramState::Ready { version, refused_from, .. }, .. }) => {
            (Some(version.clone()), *refused_from)
        }
        _ => (None, None),
    };
    PoolStatus {
        name: pool.state.name.to_string(),
        state: state.to_owned(),
        demand: match of.map(|of| &of.demand) {
            Some(DemandSource::ScaleSet(_)) => "scale-set".into(),
            Some(DemandSource::Fixed) => "fixed".into(),
            Some(DemandSource::Webhook) => "webhook".into(),
            None => String::new(),
        },
        min_idle: target.map_or(0, |target| target.limits.min_idle),
        scale_set: pool.state.scale_set.id().map(|id| id.0),
        runner_version,
        runner_refused_from,
        session: matches!(pool.state.session, SessionTrack::Open { .. }),
        desired: target.map_or(0, |target| target.desired),
        warm: target.map_or(0, |target| target.warm),
        max: target.map_or(0, |target| target.limits.max),
        capacity: of.map_or(0, |of| {
            advertised_capacity(world, spec, pool, of, limits_at(of, now).0, &census, now)
        }),
        phases,
        jobs_waiting: waiting,
        statistics: pool.state.statistics,
        waits_for,
    }
}
