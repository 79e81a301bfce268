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

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

pub(crate) use apply_scale_set::same_labels;
pub use begin::Action;
use evidence::WorkflowJobs;
pub use evidence::{KnownJob, QUEUE_BELIEVED};
pub use pool::{ASSIGNMENT_BELIEVED, Finished, Pool};

use crate::{
    effect::{Effect, Flight},
    model::{
        Attempt, BackendName, Budget, ControllerId, Detected, Event, EventKind, FAILURES_TO_PAUSE,
        Instance, JobId, MessageId, PoolName, Reason, Runner, RunnerName, ScaleSetTrack, ScopeName,
        ScopeState, Share, Trouble, TroubleKey, Used, WorkflowJobId,
    },
    planted::{Bug, planted},
    ports::{Capabilities, JobKey, RateLimit},
};

/// How many removed runners are remembered, to explain them and to know late news of them.
const PAST_MAX: usize = 2_000;

/// What is known of a backend.
#[derive(Debug, Clone)]
pub struct BackendView {
    /// What it can do.
    pub capabilities: Capabilities,
    /// When its newest complete list was begun; `None`: never in this life, so nothing is created on it yet.
    pub listed_at: Option<Timestamp>,
    /// Whether a list is due at once.
    pub list_due: bool,
    /// Whether its events are being followed.
    pub watched: bool,
    /// Create calls under way.
    pub creates: u32,
    /// How much of it the user lets be used.
    pub budget: Budget,
    /// Which limits of that are what it says that it has: as of its newest list.
    pub detects: Detected,
    /// Whether it told them in this life; nothing is made on it before.
    pub measured: bool,
    /// How much of it is used by the instances of every pool that may live, as their rows say.
    pub used: Used,
}

impl BackendView {
    /// Whether it was listed in this life, and told what it has where it is to.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.listed_at.is_some() && self.measured
    }
}

/// What is known of a scope.
#[derive(Debug, Clone, Default)]
pub struct ScopeView {
    /// When its newest complete list of registrations was begun.
    pub listed_at: Option<Timestamp>,
    /// How many registrations that list had.
    pub size: usize,
    /// Lists that failed since.
    pub attempt: Option<Attempt>,
    /// What its credential may still ask, as of GitHub's newest answer.
    pub rate_limit: Option<RateLimit>,
    /// What its webhooks may not have told.
    pub catch_up: CatchUpView,
}

/// How far a scope's workflow jobs are caught up on.
#[derive(Debug, Clone, Default)]
pub struct CatchUpView {
    /// The stored row.
    pub state: ScopeState,
    /// When the newest list was begun; `None`: not in this life yet.
    pub done_at: Option<Timestamp>,
    /// Lists that failed since.
    pub attempt: Option<Attempt>,
    /// Looks at jobs that failed since the last one that worked.
    pub read_attempt: Option<Attempt>,
    /// Whether it is known, and told, that the credential may not read jobs.
    pub may_not_read: bool,
    /// Jobs that were believed to wait or run and that the newest list did not have: they are read one by one.
    pub missing: BTreeSet<WorkflowJobId>,
}

/// A runner that is gone.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its name.
    pub name: RunnerName,
    /// When the last of it was gone.
    pub at: Timestamp,
    /// Why it was removed.
    pub reason: Option<Reason>,
    /// Whether it had a job.
    pub had_job: bool,
}

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

/// What a row takes of which backend.
type Taken = (BackendName, Share);

/// What a row takes of its backend, where its instance may live.
fn taken(row: &Runner) -> Option<Taken> {
    row.instance.may_live().then(|| (row.backend.clone(), row.share))
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
    suspects: BTreeSet<RunnerName>,
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

    /// Whether an instance was missing in a complete list, and must be looked up by name.
    #[must_use]
    pub fn is_suspect(&self, name: &RunnerName) -> bool {
        self.suspects.contains(name)
    }

    /// Every scope.
    pub fn scopes(&self) -> impl Iterator<Item = (&ScopeName, &ScopeView)> {
        self.scopes.iter()
    }

    /// The scope that a pool's scale set belongs to, in which its runners register by themselves, or where the set was last
    /// asked for.
    #[must_use]
    pub fn scope_of(&self, pool: &str) -> Option<ScopeName> {
        let pool = self.pools.get(pool)?;
        match &pool.state.scale_set {
            ScaleSetTrack::Present { scope, .. } => Some(scope.clone()),
            _ => pool.state.registers_in.clone().or_else(|| pool.scope.clone()),
        }
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

    /// Takes note that a pool was planned, and until when the plan holds.
    pub(crate) fn planned(&mut self, pool: &PoolName, due: Option<Timestamp>) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.touched = false;
            pool.due = due;
        }
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

    /// Stores a runner's next state, tells its change of phase, and forgets it once nothing of it is left.
    fn put(&mut self, next: Runner, now: Timestamp) {
        let Some(pool) = self.pools.get_mut(next.name.pool_str()) else {
            return;
        };
        pool.touched = true;
        let before = pool.runners.get(&next.name);
        let from = before.map(Runner::phase);
        let (takes_before, takes) = (before.and_then(taken), taken(&next));
        let to = next.phase();
        let name = next.name.clone();
        let generation = before.map_or_else(
            || self.forgotten.runners.remove(&name).unwrap_or(0),
            |before| before.generation,
        );
        pool.note_absence(&next);
        let stalled =
            !matches!(next.instance, Instance::Creating { .. }) && pool.stalled.remove(&name);
        if to == crate::model::Phase::Gone {
            let past = Past {
                name: name.clone(),
                at: now,
                reason: next.retiring.map(|retiring| retiring.reason),
                had_job: next.had_job,
            };
            pool.runners.remove(&name);
            pool.offline.remove(&name);
            self.forgotten.runners.insert(name.clone(), generation);
            self.suspects.remove(&name);
            self.early.remove(&name);
            self.past_at.insert(name.clone(), now);
            self.past.push_back(past);
            if self.past.len() > PAST_MAX
                && let Some(oldest) = self.past.pop_front()
            {
                self.past_at.remove(&oldest.name);
            }
        } else {
            pool.runners.insert(name.clone(), Runner { generation, ..next });
        }
        if takes_before != takes {
            self.count_used(takes_before, takes);
        }
        // Other pools make their runners elsewhere until then.
        if stalled {
            self.touch_all();
        }
        if from.is_none() || to == crate::model::Phase::Gone {
            self.touch_sharers();
        }
        self.changes.runners.insert(name.clone());
        if from != Some(to) {
            self.tell(EventKind::Runner { runner: name, from, to }, now);
        }
    }

    /// Keeps true how much of a backend is used. Where that is limited, every pool's plan hangs on it.
    fn count_used(&mut self, before: Option<Taken>, after: Option<Taken>) {
        let mut limited = false;
        for (taken, adds) in [(before, false), (after, true)] {
            let Some((backend, share)) = taken else { continue };
            if let Some(view) = self.backends.get_mut(&backend) {
                view.used = if adds { view.used.plus(share) } else { view.used.minus(share) };
                limited |= view.budget.is_limited();
            }
        }
        if limited {
            self.touch_all();
        }
    }

    /// Marks a runner to go, with each reason told once.
    fn retire(&mut self, runner: Runner, reason: Reason, even_busy: bool, now: Timestamp) {
        let known = runner.retiring.as_ref().map(|retiring| &retiring.reason);
        // What was told of jobs before is doubted: one that waits would have come to it.
        if known.is_none()
            && reason == Reason::IdleRemoved
            && let Some(pool) = self.pools.get_mut(runner.name.pool_str())
        {
            pool.doubted = Some(now);
        }
        if known.is_none_or(|known| reason.overrides_busy() && *known != reason) {
            self.tell(
                EventKind::Retired { runner: runner.name.clone(), reason: reason.clone() },
                now,
            );
        }
        self.put(runner.retire(reason, even_busy, now), now);
    }

    /// Notes a change of a pool's row.
    fn change_pool(&mut self, name: &PoolName) -> Option<&mut Pool> {
        let pool = self.pools.get_mut(name)?;
        pool.touched = true;
        self.changes.pools.insert(name.clone());
        Some(pool)
    }

    /// Notes that a pool must be planned anew.
    fn touch(&mut self, name: &str) {
        if let Some(pool) = self.pools.get_mut(name) {
            pool.touched = true;
        }
    }

    /// Notes that the same pools make their instances from something else: each is planned anew.
    pub fn remade(&mut self) {
        self.touch_all();
    }

    fn touch_all(&mut self) {
        for pool in self.pools.values_mut() {
            pool.touched = true;
        }
    }

    /// Something changed in a pool by which the others' parts of what is left of a budget change.
    fn touch_sharers(&mut self) {
        if self.backends.values().any(|view| view.budget.is_limited()) {
            self.touch_all();
        }
    }

    fn set_trouble(&mut self, key: TroubleKey, trouble: Option<Trouble>, now: Timestamp) {
        match trouble {
            Some(trouble) => {
                let (pool, backend, scope) = match &key {
                    TroubleKey::Creation { pool, backend, .. } => {
                        (Some(pool.clone()), Some(backend.clone()), None)
                    }
                    TroubleKey::Backend { backend } | TroubleKey::Creates { backend } => {
                        (None, Some(backend.clone()), None)
                    }
                    TroubleKey::Credential { scope } => (None, None, Some(scope.clone())),
                    TroubleKey::ScaleSet { pool } => (Some(pool.clone()), None, None),
                };
                let event = EventKind::Trouble {
                    pool,
                    backend,
                    scope,
                    error: trouble.error.clone(),
                    failures: trouble.failures,
                    next_attempt_at: trouble.next_attempt_at,
                };
                // Before it holds anything up, a failed create call is its runner's to tell.
                let told = !matches!(key, TroubleKey::Creates { .. })
                    || trouble.failures >= FAILURES_TO_PAUSE;
                self.troubles.insert(key.clone(), trouble);
                if told {
                    self.tell(event, now);
                }
            }
            None => {
                if self.troubles.remove(&key).is_none() {
                    return;
                }
            }
        }
        match &key {
            TroubleKey::Creation { pool, .. } | TroubleKey::ScaleSet { pool } => {
                let pool = pool.clone();
                self.touch(pool.as_str());
            }
            TroubleKey::Backend { .. }
            | TroubleKey::Creates { .. }
            | TroubleKey::Credential { .. } => self.touch_all(),
        }
        self.changes.troubles.insert(key);
    }

    fn tell(&mut self, kind: EventKind, now: Timestamp) {
        self.events.push(Event { at: now, kind });
    }

    fn odd(&mut self, what: &str, now: Timestamp) {
        self.tell(EventKind::Odd { what: what.chars().take(500).collect() }, now);
    }

    /// Whether late news of a runner, seen at `seen_at`, is older than its end.
    fn was_gone_after(&self, name: &RunnerName, seen_at: Timestamp) -> bool {
        let gone = self.past_at.get(name);
        gone.is_some_and(|gone| *gone >= seen_at || planted(Bug::LateCreationIgnored))
    }

    fn job_key(pool: &PoolName, job: &JobId) -> JobKey {
        JobKey { pool: pool.clone(), job: job.clone() }
    }
}
