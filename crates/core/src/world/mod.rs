//! Everything the controller knows, in memory.
//!
//! The world changes in two ways only: [`World::apply`] takes in what happened outside, and [`World::begin`] takes in
//! what a plan decided. Both note which rows changed; [`World::take_changes`] hands them out for the commit. The world
//! never asks anybody anything.

mod apply;
mod apply_instance;
mod apply_list;
mod apply_message;
mod apply_registration;
mod apply_scale_set;
mod begin;
mod changes;
mod evidence;
mod load;
mod pool;
mod rows;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

pub(crate) use apply_scale_set::same_labels;
pub use begin::Action;
use evidence::WorkflowJobs;
pub use evidence::{KnownJob, QUEUE_BELIEVED};
pub use pool::{ASSIGNMENT_BELIEVED, Finished, Pool};
pub use views::{BackendView, CatchUpView, Past, ScopeView};

use crate::{
    effect::{Effect, Flight},
    model::{
        BackendName, ControllerId, Event, JobId, MessageId, PoolName, Runner, RunnerName,
        ScopeName, Trouble, TroubleKey, WorkflowJobId,
    },
    plan::Planned,
    ports::{JobKey, RateLimit},
};

/// Which rows changed since the last commit.
#[derive(Debug, Clone, Default)]
struct Changes {
    runners: BTreeSet<RunnerName>,
    pools: BTreeSet<PoolName>,
    jobs: BTreeSet<JobKey>,
    workflow_jobs: BTreeSet<WorkflowJobId>,
    scopes: BTreeSet<ScopeName>,
    troubles: BTreeSet<TroubleKey>,
}

/// Rows that the world forgot, with the generation that the store has: they are deleted there, or, where the name
/// comes back before that, go on from it.
#[derive(Debug, Clone, Default)]
struct Forgotten {
    runners: BTreeMap<RunnerName, u64>,
    pools: BTreeMap<PoolName, u64>,
}

/// Everything the controller knows.
#[derive(Debug, Clone)]
pub struct World {
    controller: ControllerId,
    pools: BTreeMap<PoolName, Pool>,
    backends: BTreeMap<BackendName, BackendView>,
    scopes: BTreeMap<ScopeName, ScopeView>,
    workflow_jobs: WorkflowJobs,
    troubles: BTreeMap<TroubleKey, Trouble>,
    flights: BTreeMap<Flight, Timestamp>,
    /// Runners that a complete list of instances, or of registrations, did not have.
    missing_instances: BTreeSet<RunnerName>,
    missing_registrations: BTreeSet<RunnerName>,
    /// Runners of ours whose jobs began before anything was known of an instance of theirs: their rows were lost.
    told_early: BTreeMap<RunnerName, JobId>,
    /// Instances whose waiter was ready before their create call returned.
    early: BTreeSet<RunnerName>,
    /// Instances whose create call under way is the first: what it refuses was never made.
    first_creates: BTreeSet<RunnerName>,
    past: VecDeque<Past>,
    past_at: BTreeMap<RunnerName, Timestamp>,
    /// Rows that the store still has.
    forgotten: Forgotten,
    /// Rows that the commit under way deletes.
    deleted: Forgotten,
    stopping: bool,
    /// The clock that was stored with the newest commit that stored it in this life.
    clock_stored: Option<Timestamp>,
    changes: Changes,
    events: Vec<Event>,
}

impl World {
    /// Whose world it is.
    #[must_use]
    pub fn controller(&self) -> ControllerId {
        self.controller
    }

    /// A runner by name.
    #[must_use]
    pub fn runner(&self, name: &RunnerName) -> Option<&Runner> {
        self.pools.get(name.pool_str()).and_then(|pool| pool.runners.get(name))
    }

    /// Every runner that is not gone, by pool and name.
    pub fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.pools.values().flat_map(|pool| pool.runners.values())
    }

    /// A pool by name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.get(name)
    }

    /// Every pool known, in the configuration or not.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values()
    }

    /// A backend by name.
    #[must_use]
    pub fn backend(&self, name: &BackendName) -> Option<&BackendView> {
        self.backends.get(name)
    }

    /// Every backend.
    pub fn backends(&self) -> impl Iterator<Item = (&BackendName, &BackendView)> {
        self.backends.iter()
    }

    /// A scope by name.
    #[must_use]
    pub fn scope(&self, name: &ScopeName) -> Option<&ScopeView> {
        self.scopes.get(name)
    }

    /// A trouble, where there is one.
    #[must_use]
    pub fn trouble(&self, key: &TroubleKey) -> Option<&Trouble> {
        self.troubles.get(key)
    }

    /// Every trouble.
    pub fn troubles(&self) -> impl Iterator<Item = (&TroubleKey, &Trouble)> {
        self.troubles.iter()
    }

    /// Whether an effect of this flight is under way.
    #[must_use]
    pub fn is_flying(&self, flight: &Flight) -> bool {
        self.flights.contains_key(flight)
    }

    /// When the effect that is under way was begun.
    #[must_use]
    pub fn flying_since(&self, flight: &Flight) -> Option<Timestamp> {
        self.flights.get(flight).copied()
    }

    /// An effect of an earlier pass begins only now: its commit was refused until now. Whoever waits for it waits from now on.
    pub fn begun_late(&mut self, effect: &Effect, now: Timestamp) {
        if let Some(began) = effect.flight().and_then(|flight| self.flights.get_mut(&flight)) {
            *began = now;
        }
    }

    /// Whether a poll or an acknowledgement of the pool's session is under way.
    #[must_use]
    pub fn is_conversing(&self, pool: &PoolName) -> bool {
        let acknowledge = |message| Flight::Acknowledge(pool.clone(), message);
        let all = acknowledge(MessageId(i64::MIN))..=acknowledge(MessageId(i64::MAX));
        self.is_flying(&Flight::Poll(pool.clone())) || self.flights.range(all).next().is_some()
    }

    /// How many effects are under way.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.flights.len()
    }

    /// A runner that is gone and still remembered.
    #[must_use]
    pub fn past(&self, name: &str) -> Option<&Past> {
        self.past.iter().rev().find(|past| past.name.as_str() == name)
    }

    /// Whether a runner's instance was missing in a complete list, and must be looked up by name.
    #[must_use]
    pub fn misses_instance(&self, name: &RunnerName) -> bool {
        self.missing_instances.contains(name)
    }

    /// Whether a runner's registration was missing in a complete list, and must be looked up by name.
    #[must_use]
    pub fn misses_registration(&self, name: &RunnerName) -> bool {
        self.missing_registrations.contains(name)
    }

    /// Every scope.
    pub fn scopes(&self) -> impl Iterator<Item = (&ScopeName, &ScopeView)> {
        self.scopes.iter()
    }

    /// The scope that a pool's scale set belongs to, in which its runners register by themselves, or where the set was last
    /// asked for.
    #[must_use]
    pub fn scope_of(&self, pool: &str) -> Option<ScopeName> {
        self.pools.get(pool)?.made_in().cloned()
    }

    /// Takes note of what a scope's credential may still ask of GitHub.
    pub fn note_rate_limit(&mut self, scope: &ScopeName, limit: Option<RateLimit>) {
        let Some(view) = self.scopes.get_mut(scope).filter(|view| view.rate_limit != limit) else {
            return;
        };
        view.rate_limit = limit;
        for pool in self.pools.values_mut() {
            pool.touched |= pool.state.registers_in.as_ref() == Some(scope);
        }
    }

    /// Takes note of what pools' plans leave. Where runners to be want less of a budget than before, the stock of other pools may be
    /// filled again: `true`, their plans are out of date.
    pub(crate) fn planned(&mut self, planned: Vec<Planned>) -> bool {
        let mut freed = BTreeSet::new();
        for planned in planned {
            let Some(pool) = self.pools.get_mut(&planned.pool) else { continue };
            pool.touched = false;
            pool.due = planned.due;
            let before = std::mem::replace(&mut pool.claim, planned.claim);
            if before.is_some_and(|before| !before.is_within(pool.claim.as_ref())) {
                freed.insert(planned.pool);
            }
        }
        if freed.is_empty() {
            return false;
        }
        for (name, pool) in &mut self.pools {
            pool.touched |= freed.len() > 1 || !freed.contains(name);
        }
        true
    }

    /// When a pass is due though nothing happens.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let pools =
            self.pools.values().filter_map(|pool| if pool.touched { Some(now) } else { pool.due });
        pools.chain(crate::plan::lists_due(self, now)).min()
    }

    /// Whether the daemon is ending.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether the daemon is ending and every session is closed.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopping
            && self.pools.values().all(|pool| pool.state.session.id().is_none())
            && self
                .flights
                .keys()
                .all(|flight| !matches!(flight, Flight::ScaleSet(_) | Flight::Poll(_)))
    }
}
