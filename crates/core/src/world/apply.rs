//! Takes in what happened outside.

use jiff::{SignedDuration, Timestamp};

use super::World;
use crate::{
    effect::{Command, Flight, InstanceCall, Outcome},
    model::{
        BackendName, Capacity, EventKind, PoolName, Reason, Runner, RunnerName, ScopeName, Sign,
        Trouble, TroubleKey,
    },
    planted::{Bug, planted},
    ports::{BackendError, ForgeError, ForgeErrorKind},
};

/// The first wait after an engine could not be listed or followed.
const BACKEND_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// The first wait after GitHub refused a credential.
const CREDENTIAL_WAIT: SignedDuration = SignedDuration::from_secs(30);

/// Which of GitHub's interfaces was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// The public REST API, whose requests are counted against the credential's rate limit.
    Rest,
    /// The Actions service: scale sets, their sessions, and registrations in them.
    Service,
}

impl World {
    /// Takes in what happened. Late, doubled and odd news change nothing and are told in an event.
    pub fn apply(&mut self, outcome: Outcome, now: Timestamp) {
        match outcome {
            Outcome::Instance { runner, call, result } => {
                self.land(&Flight::Instance(runner.clone()));
                if matches!(call, InstanceCall::Create(_)) {
                    self.create_landed(&runner);
                }
                self.apply_instance(&runner, &call, result, now);
            }
            Outcome::Registration { runner, call, result } => {
                self.land(&Flight::Registration(runner.clone()));
                self.apply_registration(&runner, &call, result, now);
            }
            Outcome::ScaleSet { pool, call, result } => {
                self.land(&Flight::ScaleSet(pool.clone()));
                self.apply_scale_set(&pool, &call, result, now);
            }
            Outcome::Polled { pool, capacity: _, result } => {
                self.land(&Flight::Poll(pool.clone()));
                self.apply_poll(&pool, result, now);
            }
            Outcome::PollStopped { pool } => self.land(&Flight::Poll(pool)),
            Outcome::Acknowledged { pool, message, result } => {
                self.land(&Flight::Acknowledge(pool.clone(), message));
                self.apply_acknowledged(&pool, message, result, now);
            }
            Outcome::ListedInstances { backend, began_at, result, capacity } => {
                self.land(&Flight::ListInstances(backend.clone()));
                self.apply_capacity(&backend, capacity);
                self.apply_instance_list(&backend, began_at, result, now);
            }
            Outcome::ListedRegistrations { scope, began_at, result } => {
                self.land(&Flight::ListRegistrations(scope.clone()));
                self.apply_registration_list(&scope, began_at, result, now);
            }
            Outcome::CaughtUp { scope, began_at, result } => {
                self.land(&Flight::CatchUp(scope.clone()));
                self.apply_caught_up(&scope, began_at, result, now);
            }
            Outcome::JobRead { scope, job, began_at, result } => {
                self.land(&Flight::ReadJob(scope.clone(), job));
                self.apply_read(&scope, job, began_at, result, now);
            }
            Outcome::Evidence(job) => self.apply_evidence(*job, None, now),
            Outcome::InstanceReady { runner } => self.apply_ready(&runner, now),
            Outcome::InstanceEnded { runner, exit } => self.apply_ended(&runner, &exit, now),
            Outcome::Said { runner, sign } => self.apply_sign(&runner, sign, now),
            Outcome::WatchBroke { backend, error } => self.apply_watch(&backend, error, now),
            Outcome::Command(command) => self.apply_command(command, now),
        }
    }

    /// A call returned: what waited for its flight can be planned, even where the answer itself changes nothing.
    fn land(&mut self, flight: &Flight) {
        self.flights.remove(flight);
        match flight {
            Flight::Instance(runner) | Flight::Registration(runner) => {
                self.touch(runner.pool_str());
            }
            Flight::ScaleSet(pool) | Flight::Poll(pool) | Flight::Acknowledge(pool, _) => {
                self.touch(pool.as_str());
                self.touch_sharers();
            }
            // Looks wait for each other, and for the list.
            Flight::CatchUp(scope) | Flight::ReadJob(scope, _) => {
                for pool in self.pools.values_mut().filter(|pool| pool.is_routed_in(scope)) {
                    pool.touched = true;
                }
            }
            Flight::ListInstances(_) | Flight::ListRegistrations(_) => {}
        }
    }

    /// A create call returned: its place is free for another pool's.
    fn create_landed(&mut self, runner: &RunnerName) {
        let Some(backend) = self.runner(runner).map(|runner| runner.backend.clone()) else {
            // The row is gone: the slot belongs to a backend that we find by what still flies.
            self.recount_creates();
            return;
        };
        if let Some(view) = self.backends.get_mut(&backend) {
            view.creates = view.creates.saturating_sub(1);
        }
        self.touch_all();
    }

    fn recount_creates(&mut self) {
        let mut counts = std::collections::BTreeMap::<BackendName, u32>::new();
        for runner in self.pools.values().flat_map(|pool| pool.runners.values()) {
            let flies = matches!(runner.instance, crate::model::Instance::Creating { .. })
                && self.flights.contains_key(&Flight::Instance(runner.name.clone()));
            if flies {
                *counts.entry(runner.backend.clone()).or_default() += 1;
            }
        }
        for (name, view) in &mut self.backends {
            view.creates = counts.get(name).copied().unwrap_or(0);
        }
        self.touch_all();
    }

    /// A backend told how much it has.
    fn apply_capacity(&mut self, backend: &BackendName, capacity: Option<Capacity>) {
        if let (Some(view), Some(capacity)) = (self.backends.get_mut(backend), capacity) {
            view.budget = view.budget.with(capacity, view.detects);
            view.measured = true;
        }
    }

    fn apply_sign(&mut self, name: &RunnerName, sign: Sign, now: Timestamp) {
        let Some(runner) = self.runner(name).cloned() else {
            return;
        };
        match sign {
            Sign::Listening => {
                if let Ok(runner) = runner.online(now) {
                    self.put(runner, now);
                }
            }
            // The completion is the message's to tell: until it does, the counts still contain the job.
            Sign::JobStarted | Sign::JobCompleted => self.found_busy(runner, None, now),
            Sign::TooOld => {
                let what = format!(
                    "GitHub refuses the version of the runner program in {name}: renew the image of pool {}",
                    name.pool_str()
                );
                self.tell(EventKind::Alarm { pool: Some(name.pool()), what }, now);
            }
        }
    }

    fn apply_watch(&mut self, backend: &BackendName, error: Option<BackendError>, now: Timestamp) {
        let Some(view) = self.backends.get_mut(backend) else {
            return;
        };
        view.list_due = true;
        view.watched = error.is_none();
        self.touch_all();
        match error {
            Some(error) => self.backend_trouble(backend, &error, now),
            // It answers again: the list need not wait.
            None => self.set_trouble(TroubleKey::Backend { backend: backend.clone() }, None, now),
        }
    }

    pub(super) fn backend_trouble(
        &mut self,
        backend: &BackendName,
        error: &BackendError,
        now: Timestamp,
    ) {
        let key = TroubleKey::Backend { backend: backend.clone() };
        let trouble =
            Trouble::after(self.troubles.get(&key), BACKEND_WAIT, &error.to_string(), now);
        self.set_trouble(key, Some(trouble), now);
    }

    /// What a failed call on GitHub says of the credential as a whole. The Actions service counts no requests: what its calls
    /// meet as a limit is the want of a token that only the REST API gives, or a limit of its own, and holds up all.
    pub(super) fn credential_trouble(
        &mut self,
        scope: &ScopeName,
        error: &ForgeError,
        asked: Api,
        now: Timestamp,
    ) {
        let scope = scope.clone();
        let key = match (&error.kind, asked) {
            (ForgeErrorKind::RateLimited(_), Api::Rest) => TroubleKey::RateLimit { scope },
            _ => TroubleKey::Credential { scope },
        };
        let trouble =
            Trouble::after(self.troubles.get(&key), CREDENTIAL_WAIT, &error.to_string(), now);
        match &error.kind {
            ForgeErrorKind::RateLimited(_) if planted(Bug::RateLimitIgnored) => {}
            ForgeErrorKind::RateLimited(until) => {
                let until = (*until).max(now);
                // Many calls meet one limit: it is told once.
                let known =
                    self.troubles.get(&key).is_some_and(|known| known.next_attempt_at >= until);
                if !known {
                    self.set_trouble(key, Some(trouble.until(until)), now);
                }
            }
            ForgeErrorKind::Unauthorized | ForgeErrorKind::NotAllowed(_) => {
                let waits =
                    self.troubles.get(&key).is_some_and(|known| known.next_attempt_at > now);
                if !waits {
                    self.set_trouble(key, Some(trouble), now);
                }
            }
            _ => {}
        }
    }

    /// A call on GitHub worked: the credential is well.
    pub(super) fn credential_works(&mut self, scope: &ScopeName, now: Timestamp) {
        let keys = [
            TroubleKey::Credential { scope: scope.clone() },
            TroubleKey::RateLimit { scope: scope.clone() },
        ];
        for key in keys {
            if self.troubles.get(&key).is_some_and(|trouble| trouble.next_attempt_at <= now) {
                self.set_trouble(key, None, now);
            }
        }
    }

    fn apply_command(&mut self, command: Command, now: Timestamp) {
        self.touch_sharers();
        match command {
            Command::Remove { runner, even_busy } => {
                if let Some(row) = self.runner(&runner).cloned() {
                    self.retire(row, Reason::Removed, even_busy, now);
                }
            }
            Command::Flush { pool, even_busy } => self.flush(&pool, even_busy, now),
            Command::Drain(pool) => self.change_drain(&pool, Some(now), now),
            Command::Undrain(name) => {
                if let Some(pool) = self.change_pool(&name) {
                    pool.state.deleting = None;
                }
                self.change_drain(&name, None, now);
            }
            Command::DeletePool(name) => {
                if let Some(pool) = self.change_pool(&name) {
                    pool.state.deleting.get_or_insert(now);
                }
            }
            Command::Stop => {
                self.stopping = true;
                self.touch_all();
            }
        }
    }

    /// The pool's runners go, busy ones only where the user says so; its next plan makes others.
    fn flush(&mut self, name: &PoolName, even_busy: bool, now: Timestamp) {
        let rows: Vec<Runner> = self
            .pools
            .get(name)
            .map(|pool| pool.runners.values().cloned().collect())
            .unwrap_or_default();
        for row in rows {
            if even_busy || (!row.is_busy() && row.retiring.is_none()) {
                self.retire(row, Reason::Flushed, even_busy, now);
            }
        }
    }

    fn change_drain(&mut self, name: &PoolName, drained: Option<Timestamp>, now: Timestamp) {
        let what = if drained.is_some() { "drained by a user" } else { "no longer drained" };
        let Some(pool) = self.change_pool(name) else {
            return;
        };
        if pool.state.drained.is_some() != drained.is_some() {
            pool.state.drained = drained;
            self.tell(EventKind::ScaleSet { pool: name.clone(), what: what.into() }, now);
        }
    }
}
