//! A store in memory that keeps the rules of the real one: rows compare and set a generation.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{
        ControllerId, Job, PoolName, PoolState, Runner, RunnerName, ScopeName, ScopeState,
        TrackedJob, Trouble, TroubleKey, WorkflowJobId,
    },
    ports::{Batch, JobKey, Stored},
    world::World,
};
use jiff::Timestamp;

#[derive(Debug, Clone)]
pub(super) struct Memory {
    controller: ControllerId,
    clock: Option<Timestamp>,
    runners: BTreeMap<RunnerName, Runner>,
    pools: BTreeMap<PoolName, PoolState>,
    jobs: BTreeMap<JobKey, Job>,
    workflow_jobs: BTreeMap<WorkflowJobId, TrackedJob>,
    scopes: BTreeMap<ScopeName, ScopeState>,
    troubles: BTreeMap<TroubleKey, Trouble>,
}

impl Memory {
    pub(super) fn new(controller: ControllerId) -> Self {
        Self {
            controller,
            clock: None,
            runners: BTreeMap::new(),
            pools: BTreeMap::new(),
            jobs: BTreeMap::new(),
            workflow_jobs: BTreeMap::new(),
            scopes: BTreeMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    pub(super) fn load(&self) -> Stored {
        Stored {
            controller: self.controller,
            clock: self.clock,
            runners: self.runners.values().cloned().collect(),
            pools: self.pools.values().cloned().collect(),
            jobs: self.jobs.iter().map(|(key, job)| (key.pool.clone(), job.clone())).collect(),
            workflow_jobs: self.workflow_jobs.values().cloned().collect(),
            scopes: self.scopes.clone().into_iter().collect(),
            troubles: self.troubles.clone().into_iter().collect(),
        }
    }

    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        for (name, row) in &batch.runners {
            let stored = self.runners.get(name).map_or(0, |row| row.generation);
            match row {
                Some(row) if row.generation != stored + 1 => {
                    return Err(format!(
                        "runner {name}: generation {} is committed over {stored}",
                        row.generation
                    ));
                }
                Some(row) => {
                    self.runners.insert(name.clone(), row.clone());
                }
                None => {
                    self.runners.remove(name);
                }
            }
        }
        for (name, row) in &batch.pools {
            let stored = self.pools.get(name).map_or(0, |row| row.generation);
            match row {
                Some(row) if row.generation != stored + 1 => {
                    return Err(format!(
                        "pool {name}: generation {} is committed over {stored}",
                        row.generation
                    ));
                }
                Some(row) => {
                    self.pools.insert(name.clone(), row.clone());
                }
                None => {
                    self.pools.remove(name);
                }
            }
        }
        replace(&mut self.jobs, &batch.jobs);
        replace(&mut self.workflow_jobs, &batch.workflow_jobs);
        replace(&mut self.scopes, &batch.scopes);
        replace(&mut self.troubles, &batch.troubles);
        self.clock = batch.clock.or(self.clock);
        Ok(())
    }

    /// The store is the log: after a commit it holds what the world holds, no more and no less.
    pub(super) fn equals(&self, world: &World) -> Result<(), String> {
        let runners: BTreeMap<_, _> =
            world.runners().map(|row| (row.name.clone(), row.clone())).collect();
        same("runner", &self.runners, &runners)?;
        let mut jobs = BTreeMap::new();
        let mut pools = BTreeMap::new();
        for pool in world.pools() {
            let name = &pool.state.name;
            jobs.extend(
                pool.jobs
                    .values()
                    .map(|job| (JobKey { pool: name.clone(), job: job.id.clone() }, job.clone())),
            );
            // A pool of which there is nothing to remember needs no row.
            if pool.state != PoolState::new(name.clone()) || self.pools.contains_key(name) {
                // What a start resolves (an open session becomes a stored one) is committed with the next change.
                let row =
                    self.pools.get(name).filter(|row| row.generation == pool.state.generation);
                if row.is_none() {
                    return Err(format!("pool {name}: the store has another generation"));
                }
                pools.insert(name.clone(), self.pools.get(name).cloned());
            }
        }
        same("job", &self.jobs, &jobs)?;
        let jobs: BTreeMap<_, _> =
            world.workflow_jobs().map(|known| (known.row.job.id, known.row.clone())).collect();
        same("workflow job", &self.workflow_jobs, &jobs)?;
        // A scope of which there is nothing to remember needs no row.
        let scopes: BTreeMap<_, _> = world
            .scopes()
            .map(|(name, view)| (name.clone(), view.catch_up.state.clone()))
            .filter(|(name, state)| {
                *state != ScopeState::default() || self.scopes.contains_key(name)
            })
            .collect();
        same("scope", &self.scopes, &scopes)?;
        if let Some(name) = self.pools.keys().find(|name| !pools.contains_key(*name)) {
            return Err(format!("pool {name} is stored and the world does not know it"));
        }
        let troubles: BTreeMap<_, _> =
            world.troubles().map(|(key, trouble)| (key.clone(), trouble.clone())).collect();
        same("trouble", &self.troubles, &troubles)
    }
}

fn replace<K: Ord + Clone, V: Clone>(rows: &mut BTreeMap<K, V>, changes: &BTreeMap<K, Option<V>>) {
    for (key, row) in changes {
        match row {
            Some(row) => rows.insert(key.clone(), row.clone()),
            None => rows.remove(key),
        };
    }
}

fn same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    what: &str,
    stored: &BTreeMap<K, V>,
    known: &BTreeMap<K, V>,
) -> Result<(), String> {
    for (key, row) in known {
        if stored.get(key) != Some(row) {
            return Err(format!("{what} {key:?}: stored {:?}, known {row:?}", stored.get(key)));
        }
    }
    match stored.keys().find(|key| !known.contains_key(*key)) {
        Some(key) => Err(format!("{what} {key:?} is stored and the world does not know it")),
        None => Ok(()),
    }
}
