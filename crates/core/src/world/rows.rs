//! How rows change: what each change is told, counted and planned anew by.

use jiff::Timestamp;

use super::{Past, Pool, World};
use crate::{
    model::{
        BackendName, Event, EventKind, FAILURES_TO_PAUSE, Instance, JobId, Phase, PoolName, Reason,
        Runner, RunnerName, Share, Trouble, TroubleKey,
    },
    planted::{Bug, planted},
    ports::JobKey,
};

/// How many removed runners are remembered, to explain them and to know late news of them.
const PAST_MAX: usize = 2_000;

/// What a row takes of which backend.
type Taken = (BackendName, Share);

/// What a row takes of its backend, where its instance may live.
fn taken(row: &Runner) -> Option<Taken> {
    row.instance.may_live().then(|| (row.backend.clone(), row.share))
}

impl World {
    /// Stores a runner's next state, tells its change of phase, and forgets it once nothing of it is left.
    pub(super) fn put(&mut self, next: Runner, now: Timestamp) {
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
        // It asks for no registration for now: others of its scope may.
        let stands = to == Phase::Warm && from != Some(to);
        let frees = pool.state.registers_in.clone().filter(|_| stands);
        let stalled =
            !matches!(next.instance, Instance::Creating { .. }) && pool.stalled.remove(&name);
        if to == Phase::Gone {
            let past = Past {
                name: name.clone(),
                at: now,
                reason: next.retiring.map(|retiring| retiring.reason),
                had_job: next.had_job,
            };
            pool.runners.remove(&name);
            pool.offline.remove(&name);
            self.forgotten.runners.insert(name.clone(), generation);
            self.missing_instances.remove(&name);
            self.told_early.remove(&name);
            self.missing_registrations.remove(&name);
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
        if frees.is_some() {
            for pool in self.pools.values_mut().filter(|pool| pool.state.registers_in == frees) {
                pool.touched = true;
            }
        }
        // Other pools make their runners elsewhere until then.
        if stalled {
            self.touch_all();
        }
        if from.is_none() || to == Phase::Gone {
            self.touch_sharers();
        }
        self.changes.runners.insert(name.clone());
        if from != Some(to) {
            self.tell(EventKind::Runner { runner: name, from, to }, now);
        }
    }

    /// Keeps true how much of a backend is used. Where that is limited, every pool's plan hangs on it.
    pub(super) fn count_used(&mut self, before: Option<Taken>, after: Option<Taken>) {
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
    pub(super) fn retire(
        &mut self,
        runner: Runner,
        reason: Reason,
        even_busy: bool,
        now: Timestamp,
    ) {
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
    pub(super) fn change_pool(&mut self, name: &PoolName) -> Option<&mut Pool> {
        let pool = self.pools.get_mut(name)?;
        pool.touched = true;
        self.changes.pools.insert(name.clone());
        Some(pool)
    }

    /// Notes that a pool must be planned anew.
    pub(super) fn touch(&mut self, name: &str) {
        if let Some(pool) = self.pools.get_mut(name) {
            pool.touched = true;
        }
    }

    /// Notes that the same pools make their instances from something else: each is planned anew.
    pub fn remade(&mut self) {
        self.touch_all();
    }

    pub(super) fn touch_all(&mut self) {
        for pool in self.pools.values_mut() {
            pool.touched = true;
        }
    }

    /// Something changed in a pool by which the others' parts of what is left of a budget change.
    pub(super) fn touch_sharers(&mut self) {
        if self.backends.values().any(|view| view.budget.is_limited()) {
            self.touch_all();
        }
    }

    pub(super) fn set_trouble(
        &mut self,
        key: TroubleKey,
        trouble: Option<Trouble>,
        now: Timestamp,
    ) {
        match trouble {
            Some(trouble) => {
                let (pool, backend, scope) = match &key {
                    TroubleKey::Creation { pool, backend, .. } => {
                        (Some(pool.clone()), Some(backend.clone()), None)
                    }
                    TroubleKey::Backend { backend } | TroubleKey::Creates { backend } => {
                        (None, Some(backend.clone()), None)
                    }
                    TroubleKey::Credential { scope } | TroubleKey::RateLimit { scope } => {
                        (None, None, Some(scope.clone()))
                    }
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
                if told {
                    self.tell(event, now);
                }
                self.note_trouble(key, trouble);
            }
            None => {
                if self.troubles.remove(&key).is_some() {
                    self.touch_trouble(key);
                }
            }
        }
    }

    /// What is new about a trouble is nothing to tell.
    pub(super) fn note_trouble(&mut self, key: TroubleKey, trouble: Trouble) {
        self.troubles.insert(key.clone(), trouble);
        self.touch_trouble(key);
    }

    fn touch_trouble(&mut self, key: TroubleKey) {
        match &key {
            TroubleKey::Creation { pool, .. } | TroubleKey::ScaleSet { pool } => {
                let pool = pool.clone();
                self.touch(pool.as_str());
            }
            TroubleKey::Backend { .. }
            | TroubleKey::Creates { .. }
            | TroubleKey::Credential { .. }
            | TroubleKey::RateLimit { .. } => self.touch_all(),
        }
        self.changes.troubles.insert(key);
    }

    pub(super) fn tell(&mut self, kind: EventKind, now: Timestamp) {
        self.events.push(Event { at: now, kind });
    }

    pub(super) fn odd(&mut self, what: &str, now: Timestamp) {
        self.tell(EventKind::Odd { what: what.chars().take(500).collect() }, now);
    }

    /// Whether late news of a runner, seen at `seen_at`, is older than its end.
    pub(super) fn was_gone_after(&self, name: &RunnerName, seen_at: Timestamp) -> bool {
        let gone = self.past_at.get(name);
        gone.is_some_and(|gone| *gone >= seen_at || planted(Bug::LateCreationIgnored))
    }

    pub(super) fn job_key(pool: &PoolName, job: &JobId) -> JobKey {
        JobKey { pool: pool.clone(), job: job.clone() }
    }
}
