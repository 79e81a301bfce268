//! Takes in complete lists: of a backend's instances, and of a scope's registrations.
//!
//! A list proves absence only for what was confirmed before it began, and a single absence of an instance is confirmed
//! by name. What bears our tag and has no row is an orphan.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Pool, World, apply::Api, apply_registration::OWN_REMOVAL};
use crate::{
    effect::Flight,
    model::{
        Attempt, BackendName, Exit, Instance, PoolName, PoolState, Proof, Registration,
        RegistrationId, Runner, RunnerName, ScopeName, TroubleKey,
    },
    planted::{Bug, planted},
    ports::{BackendError, ForgeError, InstanceRecord, InstanceStatus, RunnerRecord},
};

impl World {
    pub(super) fn apply_instance_list(
        &mut self,
        backend: &BackendName,
        began_at: Timestamp,
        result: Result<Vec<InstanceRecord>, BackendError>,
        now: Timestamp,
    ) {
        let records = match result {
            Ok(records) => records,
            Err(error) => {
                if let Some(view) = self.backends.get_mut(backend) {
                    view.list_due = true;
                }
                return self.backend_trouble(backend, &error, now);
            }
        };
        if let Some(view) = self.backends.get_mut(backend) {
            view.listed_at = Some(began_at);
            view.list_due = false;
        }
        self.touch_all();
        self.set_trouble(TroubleKey::Backend { backend: backend.clone() }, None, now);
        let mut records = self.by_name(records);
        let rows: Vec<Runner> =
            self.runners().filter(|runner| runner.backend == *backend).cloned().collect();
        for runner in rows {
            match records.remove(&runner.name) {
                // The row of an orphan registration, or of an instance thought gone: it is there after all.
                Some(record) if !runner.instance.may_exist() => {
                    if runner.instance.since() < began_at && record.status != InstanceStatus::Away {
                        let instance = found_instance(&runner, &record, now);
                        self.put_found(Runner { instance, ..runner }, now);
                    }
                }
                Some(record) if planted(Bug::RowsBeforeList) && runner.created_at >= began_at => {
                    let instance = orphan_instance(&record, now);
                    self.adopt(Runner::orphan(runner.name, backend.clone(), instance, now), now);
                }
                Some(record) => self.apply_record(runner, record, now),
                None if planted(Bug::GraceAgeDropped) => self.put(runner.instance_gone(now), now),
                None => {
                    let lasting = matches!(
                        runner.instance,
                        Instance::Booting { .. } | Instance::Ready { .. } | Instance::Spent { .. }
                    );
                    if lasting && runner.instance.since() < began_at {
                        self.touch(runner.name.pool_str());
                        self.missing_instances.insert(runner.name);
                    }
                }
            }
        }
        for (name, record) in records {
            if !name.is_of(self.controller) || self.was_gone_after(&name, began_at) {
                continue;
            }
            // Its name alone does not make it ours: its tag is seen once it can be reached.
            if record.status == InstanceStatus::Away && self.runner(&name).is_none() {
                continue;
            }
            match self.runner(&name).cloned() {
                None => {
                    let instance = orphan_instance(&record, now);
                    self.adopt(Runner::orphan(name, backend.clone(), instance, now), now);
                }
                // The row of an orphan registration: here is its instance.
                Some(row) if !row.instance.may_exist() => {
                    let instance = found_instance(&row, &record, now);
                    self.put_found(Runner { backend: backend.clone(), instance, ..row }, now);
                }
                Some(row) => {
                    let other = &row.backend;
                    self.odd(&format!("backend {backend} lists {name}, which is on {other}"), now);
                }
            }
        }
    }

    /// Records by name. Where an engine made an instance twice, the one on the row is the runner's: the other one's life is not
    /// taken for it. Engines destroy by name, so that the double goes with it.
    fn by_name(&self, records: Vec<InstanceRecord>) -> BTreeMap<RunnerName, InstanceRecord> {
        let mut by_name: BTreeMap<RunnerName, InstanceRecord> = BTreeMap::new();
        for record in records {
            let row = self.runner(&record.runner).and_then(|row| row.instance.id());
            if row == Some(&record.id) || !by_name.contains_key(&record.runner) {
                by_name.insert(record.runner.clone(), record);
            }
        }
        by_name
    }

    fn adopt(&mut self, orphan: Runner, now: Timestamp) {
        let pool = orphan.pool();
        self.pools.entry(pool.clone()).or_insert_with(|| {
            self.changes.pools.insert(pool.clone());
            let generation = self.forgotten.pools.remove(&pool).unwrap_or(0);
            Pool::new(PoolState { generation, ..PoolState::new(pool) })
        });
        self.odd(
            &format!("{} bears our tag and the store does not know it: it is removed", orphan.name),
            now,
        );
        let name = orphan.name.clone();
        self.put(orphan, now);
        // A message may have told of its job before.
        if let Some(job) = self.told_early.remove(&name)
            && let Some(row) = self.runner(&name).cloned()
        {
            self.found_busy(row, Some(job), now);
        }
    }

    /// A row whose instance was unknown, or thought gone, and is found. What was told of its job holds.
    fn put_found(&mut self, row: Runner, now: Timestamp) {
        let (name, had_job) = (row.name.clone(), row.had_job);
        self.put(row, now);
        if had_job && let Some(row) = self.runner(&name).cloned() {
            self.found_busy(row, None, now);
        }
    }

    pub(super) fn apply_registration_list(
        &mut self,
        scope: &ScopeName,
        began_at: Timestamp,
        result: Result<Vec<RunnerRecord>, ForgeError>,
        now: Timestamp,
    ) {
        let records = match result {
            Ok(records) => records,
            Err(error) => {
                self.credential_trouble(scope, &error, Api::Rest, now);
                if let Some(view) = self.scopes.get_mut(scope) {
                    view.attempt =
                        Some(Attempt::after(view.attempt.as_ref(), &error.to_string(), now));
                }
                return;
            }
        };
        self.credential_works(scope, now);
        if let Some(view) = self.scopes.get_mut(scope) {
            view.listed_at = Some(began_at);
            view.size = records.len();
            view.attempt = None;
        }
        let mut ours: BTreeMap<RunnerName, RunnerRecord> = BTreeMap::new();
        for record in records {
            if let Ok(name) = RunnerName::new(&record.name)
                && (name.is_of(self.controller) || planted(Bug::ForeignRegistrationRemoved))
            {
                ours.insert(name, record);
            }
        }
        let pools: Vec<PoolName> = self
            .pools
            .keys()
            .filter(|pool| self.scope_of(pool.as_str()).as_ref() == Some(scope))
            .cloned()
            .collect();
        for pool in &pools {
            self.touch(pool.as_str());
            let rows: Vec<Runner> = self
                .pools
                .get(pool)
                .map(|pool| pool.runners.values().cloned().collect())
                .unwrap_or_default();
            for runner in rows {
                let record = ours.remove(&runner.name);
                self.apply_registration_record(runner, record, began_at, now);
            }
        }
        for (name, record) in ours {
            // A name of ours without a row: minted by a daemon whose store was lost, or under way while we listed.
            if pools.contains(&name.pool()) && !self.was_gone_after(&name, began_at) {
                let Some(backend) = self.backends.keys().next().cloned() else { return };
                let mut orphan =
                    Runner::orphan(name, backend, Instance::Gone { since: now, ended: false }, now);
                orphan.registration = Registration::InDoubt { since: now, id: Some(record.id) };
                self.adopt(orphan, now);
            }
        }
    }

    fn apply_registration_record(
        &mut self,
        runner: Runner,
        record: Option<RunnerRecord>,
        began_at: Timestamp,
        now: Timestamp,
    ) {
        // A mint that is under way may make the registration after the list was read: its absence proves nothing yet. Without
        // this the row of a lost instance went, and the mint's next attempt registered a name that nobody knew.
        let under_way = self.is_flying(&Flight::Registration(runner.name.clone()));
        let before = !under_way
            && runner.registration.since().is_some_and(|since| since < began_at)
            || planted(Bug::LateAnswerTakenAsNew);
        if before {
            self.note_offline(&runner, record.as_ref(), now);
        }
        match (&runner.registration, record) {
            (Registration::Removing { .. }, None) if before => {
                self.put(runner.registration_gone(now), now);
            }
            (Registration::Busy { .. }, None) if before && planted(Bug::NotFoundIsConsent) => {
                self.put(runner.registration_gone(now), now);
            }
            // The look by name that follows a suspicion would mend it.
            (Registration::Online { .. } | Registration::HandedOver { .. }, None)
                if planted(Bug::LateAnswerTakenAsNew) =>
            {
                self.put(runner.registration_gone(now), now);
            }
            (Registration::Removing { since, proof: Proof::Absence, .. }, Some(record))
                if began_at.duration_since(*since) >= OWN_REMOVAL =>
            {
                self.remove_by(runner, record.id, now);
            }
            (Registration::InDoubt { .. }, record) if before => {
                self.apply_found(runner, record, now);
            }
            (Registration::Online { .. } | Registration::HandedOver { .. }, None) if before => {
                self.missing_registrations.insert(runner.name);
            }
            (Registration::Online { .. } | Registration::HandedOver { .. }, Some(record))
                if before && record.busy == Some(true) =>
            {
                self.found_busy(runner, None, now);
            }
            // What it said of itself on its console did not reach us, or its engine shows none.
            (Registration::HandedOver { .. }, Some(record))
                if before && record.online == Some(true) =>
            {
                if let Ok(runner) = runner.online(now) {
                    self.put(runner, now);
                }
            }
            _ => {}
        }
    }

    /// Remembers since when GitHub sees a runner offline that should wait for a job. Of a scale set's runners its counts tell.
    fn note_offline(&mut self, runner: &Runner, record: Option<&RunnerRecord>, now: Timestamp) {
        let Some(pool) = self.pools.get_mut(runner.name.pool_str()) else { return };
        let waits = matches!(runner.registration, Registration::Online { .. });
        let unseen = record.is_some_and(|record| record.online == Some(false));
        if pool.state.registers_in.is_some() && waits && unseen {
            pool.offline.entry(runner.name.clone()).or_insert(now);
        } else {
            pool.offline.remove(&runner.name);
        }
    }

    fn remove_by(&mut self, mut runner: Runner, id: RegistrationId, now: Timestamp) {
        runner.registration =
            Registration::Removing { since: now, id: Some(id), proof: Proof::Removal };
        self.put(runner, now);
    }
}

/// An instance that shows under the name of a row that had none. One that the engine made late, after the runner's own had
/// ended, was never given a registration: it runs no job, whatever GitHub still says of the runner.
fn found_instance(row: &Runner, record: &InstanceRecord, now: Timestamp) -> Instance {
    match row.instance {
        Instance::Gone { ended: true, .. } => Instance::Ended { since: now, exit: Exit::default() },
        _ => orphan_instance(record, now),
    }
}

/// The instance of an orphan, as its engine shows it. It may have been given a registration: GitHub is asked first.
fn orphan_instance(record: &InstanceRecord, now: Timestamp) -> Instance {
    match &record.status {
        InstanceStatus::Ended(exit) => Instance::Ended { since: now, exit: exit.clone() },
        _ => Instance::Spent { since: now, id: record.id.clone() },
    }
}
