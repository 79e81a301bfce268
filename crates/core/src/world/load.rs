//! The world at the daemon's start: the stored rows, with all that only memory knew resolved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{BackendView, Changes, Forgotten, Pool, ScopeView, WorkflowJobs, World};
use crate::{
    model::{BackendName, DemandSource, JobState, PoolState, SessionTrack, Spec, TroubleKey, Used},
    planted::{Bug, planted},
    ports::{Capabilities, Stored},
    route::Routes,
};

/// A gap since the last commit over which deadlines begin anew: the machine slept, or the clock was set.
const GAP_MAX: SignedDuration = SignedDuration::from_mins(10);

impl World {
    /// The world at start. What was under way when the last daemon died is resolved as [`crate::model::Runner::restarted`] says.
    #[must_use]
    pub fn new(
        stored: Stored,
        spec: &Spec,
        backends: BTreeMap<BackendName, Capabilities>,
        now: Timestamp,
    ) -> Self {
        let gap = stored.clock.map(|clock| now.duration_since(clock));
        let gap = gap.filter(|gap| !gap.is_negative() || !planted(Bug::ClockSetBackIgnored));
        let jumped = gap.is_some_and(|gap| gap > GAP_MAX || gap.is_negative());
        let set_back = gap.is_some_and(|gap| gap.is_negative());
        let mut world = Self {
            controller: stored.controller,
            pools: BTreeMap::new(),
            backends: backends
                .into_iter()
                .map(|(name, capabilities)| {
                    let detects = spec.detected.get(&name).copied().unwrap_or_default();
                    let view = BackendView {
                        capabilities,
                        listed_at: None,
                        list_due: true,
                        watched: false,
                        creates: 0,
                        budget: spec.budgets.get(&name).copied().unwrap_or_default(),
                        detects,
                        measured: !detects.is_any(),
                        used: Used::default(),
                    };
                    (name, view)
                })
                .collect(),
            scopes: spec.scopes.keys().map(|name| (name.clone(), ScopeView::default())).collect(),
            workflow_jobs: WorkflowJobs::of(Routes::of(spec, |of| {
                of.demand == DemandSource::Webhook
            })),
            troubles: stored
                .troubles
                .into_iter()
                .map(|(key, trouble)| {
                    (key, if set_back { trouble.not_after(now) } else { trouble })
                })
                .collect(),
            flights: BTreeMap::new(),
            missing_instances: BTreeSet::new(),
            told_early: BTreeMap::new(),
            missing_registrations: BTreeSet::new(),
            early: BTreeSet::new(),
            first_creates: BTreeSet::new(),
            past: VecDeque::new(),
            past_at: BTreeMap::new(),
            forgotten: Forgotten::default(),
            deleted: Forgotten::default(),
            stopping: false,
            clock_stored: None,
            changes: Changes::default(),
            events: Vec::new(),
        };
        if set_back {
            world.changes.troubles.extend(world.troubles.keys().cloned());
        }
        for mut state in stored.pools {
            // A session that stood is taken up again by a refresh; one being closed is closed again.
            if let SessionTrack::Open { id, .. } = &state.session {
                state.session = SessionTrack::Stored { id: id.clone() };
            }
            world.pools.insert(state.name.clone(), Pool::new(state));
        }
        for name in spec.pools.keys() {
            world
                .pools
                .entry(name.clone())
                .or_insert_with(|| Pool::new(PoolState::new(name.clone())));
        }
        world.forget_troubles(spec);
        for pool in world.pools.values_mut() {
            pool.routed = world.workflow_jobs.routes.has(&pool.state.name);
        }
        for (name, state) in stored.scopes {
            match world.scopes.get_mut(&name) {
                Some(view) => view.catch_up.state = state,
                // It is not in the configuration any more.
                None => {
                    world.changes.scopes.insert(name);
                }
            }
        }
        let mut workflow_jobs = stored.workflow_jobs;
        for row in workflow_jobs.iter_mut().filter(|row| set_back && row.since > now) {
            row.since = now;
            world.changes.workflow_jobs.insert(row.job.id);
        }
        world.load_workflow_jobs(workflow_jobs);
        for runner in stored.runners {
            let name = runner.pool();
            let before = runner.clone();
            let mut runner = runner.restarted(now);
            if jumped {
                runner = runner.rebased(stored.clock, now);
            }
            if runner != before {
                world.changes.runners.insert(runner.name.clone());
            }
            let pool =
                world.pools.entry(name.clone()).or_insert_with(|| Pool::new(PoolState::new(name)));
            pool.note_absence(&runner);
            if runner.instance.may_live()
                && let Some(view) = world.backends.get_mut(&runner.backend)
            {
                view.used = view.used.plus(runner.share);
            }
            pool.runners.insert(runner.name.clone(), runner);
        }
        let mut completed = Vec::new();
        for (name, mut job) in stored.jobs {
            if set_back {
                job.state = job.state.not_after(now);
                world.changes.jobs.insert(Self::job_key(&name, &job.id));
            }
            let pool =
                world.pools.entry(name.clone()).or_insert_with(|| Pool::new(PoolState::new(name)));
            if let JobState::Completed { since, .. } = &job.state {
                completed.push((*since, pool.state.name.clone(), job));
            } else {
                pool.put_job(job);
            }
        }
        completed.sort_by_key(|(since, ..)| *since);
        for (_, name, job) in completed {
            if let Some(pool) = world.pools.get_mut(&name) {
                pool.put_job(job);
            }
        }
        world
    }

    /// Troubles of what the configuration has no more (a pool, a backend, a scope, an image) are nobody's.
    fn forget_troubles(&mut self, spec: &Spec) {
        let is_somebodys = |key: &TroubleKey| match key {
            TroubleKey::Creation { pool, .. } => spec
                .pools
                .get(pool)
                .is_some_and(|of| of.places.iter().any(|place| place.creation_key(pool) == *key)),
            TroubleKey::Backend { backend } | TroubleKey::Creates { backend } => {
                self.backends.contains_key(backend)
            }
            TroubleKey::Credential { scope } | TroubleKey::RateLimit { scope } => {
                self.scopes.contains_key(scope)
            }
            TroubleKey::ScaleSet { pool } => self.pools.contains_key(pool),
        };
        let old = self.troubles.keys().filter(|key| !is_somebodys(key)).cloned();
        for key in old.collect::<Vec<_>>() {
            self.troubles.remove(&key);
            self.changes.troubles.insert(key);
        }
    }
}
