//! What changed since the last commit.

use jiff::{SignedDuration, Timestamp};

use super::World;
use crate::{model::Event, ports::Batch};

/// Commits store the clock this often: the next start tells by it a gap of many minutes, and that the clock was set back. A row
/// more in each commit would be a third of what most commits write.
const CLOCK_EVERY: SignedDuration = SignedDuration::from_secs(30);

impl World {
    /// Hands out the changed rows for one commit, with their generations raised.
    pub fn take_changes(&mut self, now: Timestamp) -> Batch {
        let changes = std::mem::take(&mut self.changes);
        self.deleted = std::mem::take(&mut self.forgotten);
        let mut batch = Batch::default();
        for name in changes.runners {
            let pool = self.pools.get_mut(name.pool_str());
            if let Some(runner) = pool.and_then(|pool| pool.runners.get_mut(&name)) {
                runner.generation += 1;
                batch.runners.insert(name, Some(runner.clone()));
            } else if self.deleted.runners.get(&name).is_some_and(|generation| *generation > 0) {
                // A row that never reached the store needs no deletion.
                batch.runners.insert(name, None);
            }
        }
        for name in changes.pools {
            let row = self.pools.get_mut(&name).map(|pool| {
                pool.state.generation += 1;
                pool.state.clone()
            });
            batch.pools.insert(name, row);
        }
        for key in changes.jobs {
            let row = self.pools.get(&key.pool).and_then(|pool| pool.jobs.get(&key.job)).cloned();
            batch.jobs.insert(key, row);
        }
        for id in changes.workflow_jobs {
            batch.workflow_jobs.insert(id, self.workflow_job(id).map(|known| known.row.clone()));
        }
        for name in changes.scopes {
            let row = self.scopes.get(&name).map(|view| view.catch_up.state.clone());
            batch.scopes.insert(name, row);
        }
        for key in changes.troubles {
            let row = self.troubles.get(&key).cloned();
            batch.troubles.insert(key, row);
        }
        let told = |at| now.duration_since(at) < CLOCK_EVERY;
        if !batch.is_empty() && !self.clock_stored.is_some_and(told) {
            batch.clock = Some(now);
            self.clock_stored = Some(now);
        }
        batch
    }

    /// Takes back a batch that the store refused: nothing of it is stored, so all of it is still to be committed.
    pub fn commit_failed(&mut self, batch: Batch) {
        for (name, row) in batch.runners {
            let pool = self.pools.get_mut(name.pool_str());
            if row.is_some()
                && let Some(runner) = pool.and_then(|pool| pool.runners.get_mut(&name))
            {
                runner.generation = runner.generation.saturating_sub(1);
            }
            self.changes.runners.insert(name);
        }
        self.forgotten = std::mem::take(&mut self.deleted);
        for name in batch.pools.into_keys() {
            if let Some(pool) = self.pools.get_mut(&name) {
                pool.state.generation = pool.state.generation.saturating_sub(1);
            }
            self.changes.pools.insert(name);
        }
        self.changes.jobs.extend(batch.jobs.into_keys());
        self.changes.workflow_jobs.extend(batch.workflow_jobs.into_keys());
        self.changes.scopes.extend(batch.scopes.into_keys());
        self.changes.troubles.extend(batch.troubles.into_keys());
        self.clock_stored = None;
    }

    /// Hands out what happened since the last call, for the event log.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}
