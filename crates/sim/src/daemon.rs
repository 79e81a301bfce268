//! A life of the daemon: the real engine, planner, store and GitHub client, on ports that lead to the simulated outside.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use dayfly_core::{
    model::{
        BackendName, Budget, Deadlines, DemandSource, Detected, InstanceSpec, Limits, Place,
        Placement, PoolName, PoolSpec, ScaleSetSpec, ScopeKind, ScopeName, ScopeSpec, Spec, later,
    },
    ports::{Backend, Clock, Forge, Store},
};
use dayfly_engine::{Handle, Ports, SteadyClock, StoreDriver, TaskDied};
use dayfly_github::{Address, GitHub};
use jiff::SignedDuration;

use crate::{
    outside::{
        ADDRESS, DiskStore, EnginePort, Events, Life, OWNER, Outside, SeededIds, SimTransport,
        WEBHOOK, timestamp,
    },
    scenario::{Scenario, Source},
};

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) life: Life,
    pub(crate) handle: Handle,
    /// Resolves when it has ended.
    pub(crate) ended: Pin<Box<dyn Future<Output = Result<(), TaskDied>> + Send>>,
}

/// The name of pool number `index`.
pub(crate) fn pool_name(index: usize) -> Result<PoolName, String> {
    PoolName::new(format!("p{index}")).map_err(|error| error.to_string())
}

fn backend_name(index: usize) -> Result<BackendName, String> {
    BackendName::new(format!("e{index}")).map_err(|error| error.to_string())
}

fn scope_name() -> Result<ScopeName, String> {
    ScopeName::new("acme").map_err(|error| error.to_string())
}

/// What the user of a scenario wants, once each pool's image has been renewed so many times (none of those left out was).
pub(crate) fn spec(scenario: &Scenario, renewals: &BTreeMap<usize, u32>) -> Result<Spec, String> {
    let scope = scope_name()?;
    let of_scope = ScopeSpec {
        url: ADDRESS.to_owned(),
        kind: ScopeKind::Organization("acme".to_owned()),
        repositories: Vec::new(),
    };
    let mut pools = BTreeMap::new();
    for (index, plan) in scenario.pools.iter().enumerate() {
        let name = pool_name(index)?;
        // Jobs ask for the pool's name: a scale set has it as a label by itself.
        let (demand, labels) = match plan.source {
            Source::Fixed => (DemandSource::Fixed, vec![name.to_string()]),
            Source::Webhook => (DemandSource::Webhook, vec![name.to_string()]),
            Source::ScaleSet => {
                let set = ScaleSetSpec { name: name.to_string(), adopt: false };
                (DemandSource::ScaleSet(set), Vec::new())
            }
        };
        let group = "Default".to_owned();
        let instance = Arc::new(InstanceSpec {
            image: renewals
                .get(&index)
                .map_or_else(|| "simulated".to_owned(), |times| format!("simulated:{times}")),
            cpu_millis: (plan.cpus > 0).then(|| u64::from(plan.cpus) * 1_000),
            ..InstanceSpec::default()
        });
        let mark: Arc<str> = demand.mark(&instance, &scope, &group, &labels).into();
        let place = |engine: &usize| {
            let (instance, mark) = (Arc::clone(&instance), Arc::clone(&mark));
            Ok(Place { backend: backend_name(*engine)?, instance, mark })
        };
        let of = PoolSpec {
            name: name.clone(),
            scope: scope.clone(),
            places: plan.engines.iter().map(place).collect::<Result<_, String>>()?,
            placement: if plan.spread { Placement::Spread } else { Placement::InOrder },
            demand,
            labels,
            group,
            priority: 0,
            limits: Limits { warm: plan.warm, min_idle: plan.min_idle, max: plan.max },
            schedules: Vec::new(),
            deadlines: Deadlines {
                idle: SignedDuration::from_mins(3),
                job_timeout: plan
                    .job_timeout
                    .and_then(|limit| SignedDuration::try_from(limit).ok())
                    .unwrap_or(Deadlines::default().job_timeout),
                ..Deadlines::default()
            },
        };
        pools.insert(name, of);
    }
    let (mut budgets, mut detected) = (BTreeMap::new(), BTreeMap::new());
    for (index, engine) in scenario.engines.iter().enumerate() {
        // The engine itself tells how many processors it has.
        let budget = Budget { runners: engine.runners, ..Budget::default() };
        budgets.insert(backend_name(index)?, budget);
        let detects = Detected { cpus: engine.cpus.is_some(), memory: false };
        detected.insert(backend_name(index)?, detects);
    }
    Ok(Spec { scopes: BTreeMap::from([(scope, of_scope)]), pools, budgets, detected })
}

/// Starts a life. `wall_off_s` is how far the host's clock is off.
///
/// # Errors
/// What kept it from starting, as the user would be told.
pub(crate) fn start(
    outside: &Arc<Outside>,
    scenario: &Scenario,
    spec: &Arc<Spec>,
    wall_off_s: i64,
) -> Result<Daemon, String> {
    let life = outside.lock().begin_life();
    let wall = later(timestamp(outside.lock().now()), SignedDuration::from_secs(wall_off_s));
    let mut store = DiskStore::open(outside, life).map_err(|error| error.to_string())?;
    let stored = store.load().map_err(|error| error.to_string())?;
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::starting_at(wall));
    let transport = Arc::new(SimTransport { outside: Arc::clone(outside), life });
    let address = Address::parse(ADDRESS).map_err(|error| error.to_string())?;
    let credential = outside.lock().credential.clone();
    let forge = GitHub::new(address, &credential, transport, Arc::clone(&clock), OWNER)
        .map_err(|error| error.to_string())?
        .with_webhook(WEBHOOK);
    let controller = outside.lock().controller;
    let mut backends: BTreeMap<BackendName, Arc<dyn Backend>> = BTreeMap::new();
    for (index, plan) in scenario.engines.iter().enumerate() {
        let port = EnginePort {
            outside: Arc::clone(outside),
            life,
            index,
            plan: plan.clone(),
            controller,
        };
        backends.insert(backend_name(index)?, Arc::new(port));
    }
    let forge: Arc<dyn Forge> = Arc::new(forge);
    let ids = fastrand::Rng::with_seed(scenario.seed.wrapping_mul(31).wrapping_add(life.0));
    let ports = Ports {
        forges: BTreeMap::from([(scope_name()?, forge)]),
        backends,
        store: Box::new(store),
        store_driver: if scenario.sync.is_zero() {
            StoreDriver::Inline
        } else {
            StoreDriver::Paced(scenario.sync)
        },
        clock,
        ids: Box::new(SeededIds(ids)),
        events: Arc::new(Events { outside: Arc::clone(outside), life }),
    };
    let engine = dayfly_engine::start(Arc::clone(spec), stored, ports);
    let handle = engine.handle();
    Ok(Daemon { life, handle, ended: Box::pin(engine.ended()) })
}
