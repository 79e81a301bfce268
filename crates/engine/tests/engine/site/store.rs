//! A disk, kept across daemons. Checks the rule of generations, as the real one does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use dayfly_core::{
    model::{
        Job, PoolName, PoolState, Runner, RunnerName, ScopeName, ScopeState, TrackedJob, Trouble,
        TroubleKey, WorkflowJobId,
    },
    ports::{Batch, JobKey, Store, StoreError, StoreErrorKind, Stored},
};
use jiff::Timestamp;

use super::{Site, controller};

#[derive(Default)]
struct Rows {
    clock: Option<Timestamp>,
    runners: BTreeMap<RunnerName, Runner>,
    pools: BTreeMap<PoolName, PoolState>,
    jobs: BTreeMap<JobKey, Job>,
    workflow_jobs: BTreeMap<WorkflowJobId, TrackedJob>,
    scopes: BTreeMap<ScopeName, ScopeState>,
    troubles: BTreeMap<TroubleKey, Trouble>,
    broken: Option<StoreErrorKind>,
    panics: bool,
}

/// A store in memory.
#[derive(Clone)]
pub struct FakeStore {
    site: Site,
    rows: Arc<Mutex<Rows>>,
}

impl FakeStore {
    pub fn new(site: &Site) -> Self {
        Self { site: site.clone(), rows: Arc::default() }
    }

    /// Lets every commit fail, or none.
    pub fn break_with(&self, kind: Option<StoreErrorKind>) {
        self.rows.lock().unwrap().broken = kind;
    }

    /// Lets the next commit panic.
    pub fn panic_next(&self) {
        self.rows.lock().unwrap().panics = true;
    }

    pub fn runners(&self) -> Vec<Runner> {
        self.rows.lock().unwrap().runners.values().cloned().collect()
    }

    pub fn workflow_jobs(&self) -> Vec<TrackedJob> {
        self.rows.lock().unwrap().workflow_jobs.values().cloned().collect()
    }

    pub fn pool(&self, name: &str) -> Option<PoolState> {
        self.rows.lock().unwrap().pools.get(name).cloned()
    }
}

fn apply<K: Ord + Clone, V: Clone>(rows: &mut BTreeMap<K, V>, changes: &BTreeMap<K, Option<V>>) {
    for (key, row) in changes {
        match row {
            Some(row) => drop(rows.insert(key.clone(), row.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

impl Store for FakeStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let rows = self.rows.lock().unwrap();
        Ok(Stored {
            controller: controller(),
            clock: rows.clock,
            runners: rows.runners.values().cloned().collect(),
            pools: rows.pools.values().cloned().collect(),
            jobs: rows.jobs.iter().map(|(key, job)| (key.pool.clone(), job.clone())).collect(),
            workflow_jobs: rows.workflow_jobs.values().cloned().collect(),
            scopes: rows.scopes.clone().into_iter().collect(),
            troubles: rows.troubles.clone().into_iter().collect(),
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        // A disk takes its time: what does not wait for it is caught.
        std::thread::sleep(Duration::from_millis(1));
        let mut rows = self.rows.lock().unwrap();
        let failed = |kind| StoreError {
            kind,
            operation: "commit".into(),
            detail: "the disk is full".into(),
        };
        assert!(!std::mem::take(&mut rows.panics), "a bug in the store");
        if let Some(kind) = rows.broken {
            self.site.note("commit refused");
            return Err(failed(kind));
        }
        let runners = batch.runners.iter().filter_map(|(name, row)| Some((name, row.as_ref()?)));
        for (name, row) in runners {
            let known = rows.runners.get(name).map_or(0, |known| known.generation);
            assert_eq!(row.generation, known + 1, "{name}: a generation was skipped");
        }
        for row in batch.pools.values().flatten() {
            let known = rows.pools.get(&row.name).map_or(0, |known| known.generation);
            assert_eq!(row.generation, known + 1, "{}: a generation was skipped", row.name);
        }
        rows.clock = batch.clock.or(rows.clock);
        apply(&mut rows.runners, &batch.runners);
        apply(&mut rows.pools, &batch.pools);
        apply(&mut rows.jobs, &batch.jobs);
        apply(&mut rows.workflow_jobs, &batch.workflow_jobs);
        apply(&mut rows.scopes, &batch.scopes);
        apply(&mut rows.troubles, &batch.troubles);
        drop(rows);
        let words = batch.runners.iter().map(|(name, row)| match row {
            Some(row) => {
                let (instance, registration) = (row.instance.word(), row.registration.word());
                format!(" {name}={instance}/{registration}").replace("handing over", "handing-over")
            }
            None => format!(" {name}=deleted"),
        });
        let jobs = batch.workflow_jobs.keys().map(|id| format!(" job-{id}"));
        self.site.note(format!("commit{}", words.chain(jobs).collect::<String>()));
        Ok(())
    }
}
