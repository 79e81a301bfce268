//! The disk: the real store in memory, which outlives the daemon, and what of it the checks want to know.
//!
//! A commit is durable once its sync has returned. The daemon may die before a commit, which is then lost, or after it, which
//! then stands though nobody heard of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dayfly_core::{
    model::{
        ControllerId, PoolName, PoolState, Reason, Runner, RunnerName, WorkflowJobId,
        WorkflowJobStatus,
    },
    ports::{Batch, Store, StoreError, StoreErrorKind, Stored},
};
use dayfly_store::{MemoryHold, MemoryLock, Sqlite};

use super::{Life, Outside, State};
use crate::checks::Check;

/// The disk with the store on it.
pub(crate) struct Disk {
    sqlite: Sqlite,
    /// Of the life that has the store open.
    lock: MemoryLock,
    pub(crate) full: u32,
    /// Pools that a user ever deleted.
    deleted: BTreeSet<PoolName>,
    /// Whether the last commit was refused.
    refused: bool,
    loses_rows: bool,
    rows: BTreeMap<RunnerName, Runner>,
    pools: BTreeMap<PoolName, (PoolState, Option<Duration>)>,
    pub(crate) commits: u64,
    workflow_jobs: BTreeMap<WorkflowJobId, WorkflowJobStatus>,
}

/// A pool, as the disk knows it.
pub(crate) struct StoredPool {
    /// Its number.
    pub(crate) index: usize,
    /// Whether it takes no jobs by its row, for at least a grace period.
    pub(crate) closed: bool,
}

/// A poll that was on its way when the pool was closed may still be repeated by the client.
const CLOSED_GRACE: Duration = Duration::from_secs(5);

impl Disk {
    pub(super) fn new(controller: ControllerId) -> Result<Self, String> {
        Ok(Self {
            sqlite: Sqlite::in_memory(controller).map_err(|error| error.to_string())?,
            lock: MemoryLock::default(),
            full: 0,
            deleted: BTreeSet::new(),
            refused: false,
            loses_rows: false,
            rows: BTreeMap::new(),
            pools: BTreeMap::new(),
            commits: 0,
            workflow_jobs: BTreeMap::new(),
        })
    }

    /// A stored row.
    pub(crate) fn row(&self, name: &RunnerName) -> Option<&Runner> {
        self.rows.get(name)
    }

    /// How far a workflow job is, as it is stored.
    pub(crate) fn workflow_job(&self, id: WorkflowJobId) -> Option<WorkflowJobStatus> {
        self.workflow_jobs.get(&id).copied()
    }

    /// The rows of runners are gone when the daemon starts next.
    pub(crate) fn lose_rows(&mut self) {
        self.loses_rows = true;
    }

    /// Every stored row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Runner> {
        self.rows.values()
    }

    fn of_set(&self, set: i64) -> Option<&(PoolState, Option<Duration>)> {
        self.pools.values().find(|(pool, _)| pool.scale_set.id().is_some_and(|id| id.0 == set))
    }

    /// Whether a user ever deleted the pool of a set.
    pub(crate) fn was_deleted(&self, set: i64) -> bool {
        self.of_set(set).is_none_or(|(pool, _)| self.deleted.contains(&pool.name))
    }

    /// The newest message of a set whose content is stored; of a set that is no longer ours, all are done with.
    pub(crate) fn newest_of_set(&self, set: i64) -> i64 {
        self.of_set(set).map_or(i64::MAX, |(pool, _)| pool.newest.0)
    }

    /// The pool that a set is of.
    pub(crate) fn pool_of_set(&self, set: i64, now: Duration) -> Option<StoredPool> {
        let (pool, closed) = self.of_set(set)?;
        Some(StoredPool {
            index: index_of(pool.name.as_str())?,
            closed: closed.is_some_and(|since| now > since + CLOSED_GRACE),
        })
    }

    /// A runner that this batch calls an orphan, though its row stands and it serves. While commits are refused, the rows in
    /// memory go on without those on the disk.
    fn known_orphan<'a>(&self, batch: &'a Batch) -> Option<&'a RunnerName> {
        let serves = |row: &Runner| row.retiring.is_none() && row.instance.may_live();
        let orphans = batch.runners.iter().filter(|(_, row)| {
            let why = row.as_ref().and_then(|row| row.retiring.as_ref());
            why.is_some_and(|why| why.reason == Reason::Orphan)
        });
        let mut known = orphans.filter(|(name, _)| self.rows.get(*name).is_some_and(serves));
        known.next().map(|(name, _)| name).filter(|_| !self.refused)
    }

    fn note(&mut self, batch: &Batch, now: Duration) {
        self.commits += 1;
        self.refused = false;
        for (id, tracked) in &batch.workflow_jobs {
            match tracked {
                Some(tracked) => self.workflow_jobs.insert(*id, tracked.job.status),
                None => self.workflow_jobs.remove(id),
            };
        }
        for (name, row) in &batch.runners {
            match row {
                Some(row) => self.rows.insert(name.clone(), row.clone()),
                None => self.rows.remove(name),
            };
        }
        for (name, pool) in &batch.pools {
            match pool {
                Some(pool) => {
                    let closed = pool.drained.is_some() || pool.deleting.is_some();
                    if pool.deleting.is_some() {
                        self.deleted.insert(name.clone());
                    }
                    let before = self.pools.get(name).and_then(|(_, closed)| *closed);
                    let since = closed.then(|| before.unwrap_or(now));
                    self.pools.insert(name.clone(), (pool.clone(), since));
                }
                None => {
                    self.pools.remove(name);
                }
            }
        }
    }
}

impl State {
    /// Where the store lost the rows of runners, it is made anew from what is left. What lives of them the daemon can't count
    /// until engines are listed whole.
    pub(crate) fn rebuild_store(&mut self) {
        if !std::mem::take(&mut self.disk.loses_rows) {
            return;
        }
        let gone = self.disk.rows.keys().map(|name| (name.clone(), None)).collect();
        let jobs = std::mem::take(&mut self.disk.workflow_jobs);
        let workflow_jobs = jobs.into_keys().map(|id| (id, None)).collect();
        let batch = Batch { runners: gone, workflow_jobs, ..Batch::default() };
        let deleted = self.disk.sqlite.commit(&batch).is_ok();
        self.note(format_args!("the store is rebuilt: {deleted}"));
        for name in self.disk.rows.keys().cloned().collect::<Vec<_>>() {
            for machine in &mut self.engines {
                machine.beyond(&name);
            }
        }
        self.disk.rows.clear();
    }
}

/// The number in a pool's name.
pub(crate) fn index_of(pool: &str) -> Option<usize> {
    pool.strip_prefix('p')?.parse().ok()
}

/// One life's hold on the store.
pub(crate) struct DiskStore {
    outside: Arc<Outside>,
    life: Life,
    /// Until this life's end, the store is closed to others.
    _hold: MemoryHold,
}

impl DiskStore {
    /// Opens the store for this life alone.
    pub(crate) fn open(outside: &Arc<Outside>, life: Life) -> Result<Self, StoreError> {
        let hold = outside.lock().disk.lock.take()?;
        Ok(Self { outside: Arc::clone(outside), life, _hold: hold })
    }
}

impl Store for DiskStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.outside.lock().disk.sqlite.load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let failed = |kind, detail: &str| {
            Err(StoreError { kind, operation: "commit".to_owned(), detail: detail.to_owned() })
        };
        // A dead daemon commits nothing; that it is told so changes nothing, for all its ports are closed.
        let dead = || failed(StoreErrorKind::Io, "the daemon is dead");
        let Some(mut state) = self.outside.alive(self.life) else { return dead() };
        let state = &mut *state;
        if self.outside.dies(state, "before a commit") {
            return dead();
        }
        if state.disk.full > 0 {
            state.count("disk-full");
            state.disk.refused = true;
            return failed(StoreErrorKind::Full, "no space is left");
        }
        state.disk.sqlite.commit(batch)?;
        let now = state.now();
        let known = state.disk.known_orphan(batch);
        state.look(Check::Orphans, known.is_none(), || {
            format!("{known:?} is taken for an orphan, and its row is there")
        });
        state.disk.note(batch, now);
        let commits = state.disk.commits;
        state.log.note(now, format_args!("commit {commits}: {} rows", batch.runners.len()));
        self.outside.dies(state, "after a commit");
        Ok(())
    }
}
