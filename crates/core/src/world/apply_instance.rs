//! Takes in what engines say of instances.

use jiff::{SignedDuration, Timestamp};

use super::{Finished, World};
use crate::{
    effect::{InstanceCall, InstanceOutcome},
    model::{
        Attempt, EventKind, Exit, FAILURES_TO_PAUSE, Instance, JobId, Proof, Reason, Registration,
        Runner, RunnerName, Sign, Trouble, TroubleKey,
    },
    planted::{Bug, planted},
    ports::{BackendError, BackendErrorKind, InstanceRecord, InstanceStatus},
};

/// The first wait after a runner of a pool failed.
const CREATION_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// A runner that idled this long before its end did not fail: GitHub removes idle JIT runners after two minutes and more (F10),
/// less what it takes us to hear that one began to wait.
const IDLED: SignedDuration = SignedDuration::from_secs(110);

impl World {
    pub(super) fn apply_instance(
        &mut self,
        name: &RunnerName,
        call: &InstanceCall,
        result: InstanceOutcome,
        now: Timestamp,
    ) {
        let first = matches!(call, InstanceCall::Create(_)) && self.first_creates.remove(name);
        let Some(runner) = self.runner(name).cloned() else {
            return;
        };
        match result {
            InstanceOutcome::Created { id, ready } => {
                // Whatever the pool: the backend makes instances.
                let key = TroubleKey::Creates { backend: runner.backend.clone() };
                self.set_trouble(key, None, now);
                self.had_room(&runner, now);
                let ready = self.early.remove(name) || ready;
                match runner.created(id, ready, now) {
                    Ok(runner) => self.put(runner, now),
                    Err(error) => self.odd(&error.to_string(), now),
                }
            }
            InstanceOutcome::Inspected(record) => self.apply_inspected(runner, record, now),
            InstanceOutcome::HandedOver => {
                // The runner may have shown itself before the call returned: then there is nothing to add.
                if let Ok(runner) = runner.handed_over(now) {
                    self.put(runner, now);
                }
            }
            InstanceOutcome::Destroyed => {
                // Destroyed in the middle of its job, by the user's own rule: until GitHub notices, the counts contain it.
                if matches!(&runner.registration, Registration::Busy { completed_at: None, .. }) {
                    self.finish(name, runner.job().cloned(), now);
                }
                let runner = runner.instance_gone(now);
                // Without an instance nobody can be the runner any more.
                let runner = if runner.registration.serves() {
                    runner.deregistering(Proof::Removal, now)
                } else {
                    runner
                };
                self.put(runner, now);
            }
            InstanceOutcome::Failed(error) => {
                if matches!(call, InstanceCall::Create(_)) {
                    self.apply_create_failed(runner, &error, first, now);
                } else {
                    self.apply_instance_failed(runner, call, &error, now);
                }
            }
        }
    }

    /// A create call failed; `first`: it was the only one that was ever made for this runner.
    fn apply_create_failed(
        &mut self,
        runner: Runner,
        error: &BackendError,
        first: bool,
        now: Timestamp,
    ) {
        use BackendErrorKind::{NoCapacity, Quota, Transient, Unknown, Unreachable};
        // A list may have shown it before the answer came.
        let first = first && matches!(runner.instance, Instance::Creating { .. });
        if matches!(error.kind, Transient | Unknown | Unreachable) {
            self.creates_failed(&runner, &error.to_string(), now);
        }
        let reason = Reason::CreateFailed { error: error.to_string() };
        match error.kind {
            // The call may have had its effect: a look by name settles it, never a second create.
            Unknown => self.retry_instance(runner, error, now),
            // Nothing is wrong with the pool: the backend's own trouble holds creation up until a list works.
            Unreachable => {
                let backend = runner.backend.clone();
                self.retire(Self::refused(runner, first, now), reason, false, now);
                if let Some(view) = self.backends.get_mut(&backend) {
                    view.list_due = true;
                }
                self.backend_trouble(&backend, error, now);
            }
            // Try again later: it may have begun.
            Transient => self.fail(Self::refused(runner, false, now), reason, now),
            NoCapacity | Quota => {
                let key = creation_key(&runner);
                self.fail(Self::refused(runner, first, now), reason, now);
                if let Some(known) = self.troubles.get(&key).filter(|known| known.last_at == now) {
                    self.note_trouble(key, known.clone().full());
                }
            }
            _ => self.fail(Self::refused(runner, first, now), reason, now),
        }
    }

    /// Create calls on a backend fail for no reason of a pool's. Three in a row, of whatever pools, open its circuit
    /// breaker: no more are made until its time, then one alone, until one works. Of those that were under way together
    /// one counts.
    fn creates_failed(&mut self, runner: &Runner, error: &str, now: Timestamp) {
        let backend = runner.backend.clone();
        let key = TroubleKey::Creates { backend: backend.clone() };
        let known = self.troubles.get(&key);
        if known.is_some_and(|known| runner.created_at <= known.last_at) {
            return;
        }
        let trouble = Trouble::after(known, CREATION_WAIT, error, now);
        if trouble.failures == FAILURES_TO_PAUSE {
            let what = format!(
                "{} create calls in a row failed on backend {backend}: none is made until {:.0}, then one at a time; the last \
                 said: {error}",
                trouble.failures, trouble.next_attempt_at
            );
            self.tell(EventKind::Alarm { pool: None, what }, now);
        }
        self.set_trouble(key, Some(trouble), now);
    }

    fn apply_instance_failed(
        &mut self,
        runner: Runner,
        call: &InstanceCall,
        error: &BackendError,
        now: Timestamp,
    ) {
        match call {
            // The bytes may have arrived: GitHub is asked before the instance goes.
            InstanceCall::HandOver(_) => {
                if matches!(
                    runner.registration,
                    Registration::HandingOver { .. } | Registration::HandedOver { .. }
                ) {
                    let runner = runner.deregistering(Proof::Removal, now);
                    self.fail(runner, Reason::HandOverFailed { error: error.to_string() }, now);
                }
            }
            InstanceCall::Create(_) | InstanceCall::Inspect | InstanceCall::Destroy { .. } => {
                self.retry_instance(runner, error, now);
            }
        }
    }

    /// A create call was refused. It may have left something half made: only a destroy proves that nothing is there. Unless
    /// it was the first it may have been made before, with its answer lost, and live.
    fn refused(runner: Runner, first: bool, now: Timestamp) -> Runner {
        // Then it takes no room: an engine that is gone for hours keeps nobody from going elsewhere.
        let runner = if first { runner.never_lived(now) } else { runner };
        runner.clone().destroying(now).unwrap_or(runner).deregistering(Proof::Removal, now)
    }

    fn retry_instance(&mut self, mut runner: Runner, error: &BackendError, now: Timestamp) {
        runner.instance_attempt =
            Some(Attempt::after(runner.instance_attempt.as_ref(), &error.to_string(), now));
        self.put(runner, now);
    }

    fn apply_inspected(
        &mut self,
        mut runner: Runner,
        record: Option<InstanceRecord>,
        now: Timestamp,
    ) {
        self.missing_instances.remove(&runner.name);
        if let Some(record) = record {
            runner.instance_attempt = None;
            self.put(runner.clone(), now);
            return self.apply_record(runner, record, now);
        }
        match runner.instance {
            // Not there yet, or never: asked again until the deadline.
            Instance::Creating { .. } => {
                let error = "the engine does not show it";
                runner.instance_attempt =
                    Some(Attempt::after(runner.instance_attempt.as_ref(), error, now));
                self.put(runner, now);
            }
            Instance::Booting { .. } | Instance::Ready { .. } | Instance::Spent { .. } => {
                self.end(
                    runner.instance_gone(now),
                    &Exit::default(),
                    Some(Reason::InstanceLost),
                    now,
                );
            }
            Instance::Ended { .. } | Instance::Removing { .. } => {
                self.put(runner.instance_gone(now), now);
            }
            Instance::Planned { .. } | Instance::Gone { .. } => {}
        }
    }

    /// What an engine says of an instance that has a row.
    pub(super) fn apply_record(&mut self, runner: Runner, record: InstanceRecord, now: Timestamp) {
        match record.status {
            InstanceStatus::Ended(exit) => {
                let runner = match runner.instance {
                    Instance::Planned { .. } | Instance::Creating { .. } => {
                        runner.clone().created(record.id, true, now).unwrap_or(runner)
                    }
                    _ => runner,
                };
                self.put(runner.clone(), now);
                self.apply_ended(&runner.name.clone(), &exit, now);
            }
            // It is not gone: all else is seen once it can be reached.
            InstanceStatus::Away => {}
            status => {
                let ready = status == InstanceStatus::Running;
                // It may be half made: the create call is made again, and ends it.
                let half = self
                    .backends
                    .get(&runner.backend)
                    .is_some_and(|backend| backend.capabilities.names_are_unique);
                match &runner.instance {
                    Instance::Creating { .. } if half && !ready && runner.retiring.is_none() => {}
                    Instance::Planned { .. } | Instance::Creating { .. } => {
                        if let Ok(runner) = runner.created(record.id, ready, now) {
                            self.put(runner, now);
                        }
                    }
                    Instance::Booting { .. } if ready => {
                        if let Ok(runner) = runner.ready(now) {
                            self.put(runner, now);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    pub(super) fn apply_ready(&mut self, name: &RunnerName, now: Timestamp) {
        let Some(runner) = self.runner(name).cloned() else {
            return;
        };
        // The event overtook the answer of the create call.
        if matches!(runner.instance, Instance::Creating { .. }) {
            self.early.insert(name.clone());
        } else if let Ok(runner) = runner.ready(now) {
            self.put(runner, now);
        }
    }

    pub(super) fn apply_ended(&mut self, name: &RunnerName, exit: &Exit, now: Timestamp) {
        if planted(Bug::ExitProofDropped) {
            return;
        }
        // What the runner said last may not have been told line by line: the daemon was away, or the stream broke.
        if exit
            .last_output
            .iter()
            .any(|line| matches!(Sign::read(line), Some(Sign::JobStarted | Sign::JobCompleted)))
            && let Some(runner) = self.runner(name).cloned()
        {
            self.found_busy(runner, None, now);
        }
        let Some(runner) = self.runner(name).cloned() else {
            return;
        };
        // A second word of the same end adds nothing.
        if let Ok(runner) = runner.ended(exit.clone(), now) {
            self.tell(EventKind::Ended { runner: name.clone(), exit: exit.clone() }, now);
            self.end(runner, exit, None, now);
        }
    }

    /// The process of a runner has ended: what remains of its registration, and whether it failed.
    fn end(&mut self, runner: Runner, exit: &Exit, lost: Option<Reason>, now: Timestamp) {
        let told = matches!(&runner.registration, Registration::Busy { completed_at: Some(_), .. });
        if runner.had_job && !told {
            let job = runner.job().cloned();
            self.finish(&runner.name.clone(), job, now);
        }
        let idled = runner.online_since.is_some_and(|since| now.duration_since(since) >= IDLED);
        let wanted = runner.retiring.is_some();
        let reason = if let Some(lost) = lost
            && !told
        {
            lost
        } else if runner.had_job {
            Reason::JobDone
        } else if idled {
            Reason::IdleRemoved
        } else {
            Reason::EndedWithoutJob { exit: exit.to_string() }
        };
        // GitHub itself removes the registration of a runner that had its job; any other is ours to remove.
        let proof = if runner.had_job { Proof::Absence } else { Proof::Removal };
        let runner = runner.deregistering(proof, now);
        if reason == Reason::IdleRemoved {
            self.note_works(&runner, now);
        }
        if wanted || !reason.is_failure() {
            self.retire(runner, reason, false, now);
        } else {
            self.fail(runner, reason, now);
        }
    }

    fn finish(&mut self, name: &RunnerName, job: Option<JobId>, now: Timestamp) {
        if let Some(pool) = self.pools.get_mut(name.pool_str()) {
            // No counts tell of the jobs of runners that register by themselves. Webhooks tell of each job, and have told of this one
            // or will.
            if pool.state.registers_in.is_some() && (!pool.routed || job.is_some()) {
                return;
            }
            let completed = job
                .as_ref()
                .and_then(|job| pool.jobs.get(job))
                .is_some_and(|job| matches!(job.state, crate::model::JobState::Completed { .. }));
            if !completed {
                pool.finished.insert(name.clone(), Finished { at: now, job });
            }
        }
    }

    /// A runner failed: it goes, and the pool's creation on its backend waits. Failures of runners made before the
    /// newest known failure prove nothing new: they were begun in the same state of affairs.
    pub(super) fn fail(&mut self, runner: Runner, reason: Reason, now: Timestamp) {
        let key = creation_key(&runner);
        if reason == Reason::CreateTimeout {
            self.creates_failed(&runner, &reason.to_string(), now);
        }
        let known = self.troubles.get(&key);
        let news = runner.retiring.is_none()
            && !planted(Bug::BackOffPerRow)
            && known.is_none_or(|known| runner.created_at > known.last_at);
        if news {
            let trouble = Trouble::after(known, CREATION_WAIT, &reason.to_string(), now);
            if trouble.failures == FAILURES_TO_PAUSE {
                let what = format!(
                    "{} runners in a row failed on backend {}: creation is paused until {}; the last said: {}",
                    trouble.failures, runner.backend, trouble.next_attempt_at, trouble.error
                );
                self.tell(EventKind::Alarm { pool: Some(runner.pool()), what }, now);
            }
            self.set_trouble(key, Some(trouble), now);
        }
        self.retire(runner, reason, false, now);
    }

    /// An instance was made: where one like it was refused for want of room, there is some.
    fn had_room(&mut self, runner: &Runner, now: Timestamp) {
        let key = creation_key(runner);
        let Some(known) = self.troubles.get(&key) else { return };
        if known.is_full() && runner.created_at > known.last_at {
            match known.clone().after_success(now) {
                Some(left) => self.note_trouble(key, left),
                None => self.set_trouble(key, None, now),
            }
        }
    }

    /// A runner got as far as waiting for jobs: proof that its pool works on its backend, where it was begun after the last
    /// failure; though not that there is room for more.
    fn note_works(&mut self, runner: &Runner, now: Timestamp) {
        let key = creation_key(runner);
        let proves = |known: &Trouble| !known.is_full() && runner.created_at > known.last_at;
        if self.troubles.get(&key).is_some_and(proves) {
            self.set_trouble(key, None, now);
        }
    }

    /// A runner has a job.
    pub(super) fn found_busy(&mut self, runner: Runner, job: Option<JobId>, now: Timestamp) {
        if let Ok(runner) = runner.busy(job.clone(), now) {
            self.note_works(&runner, now);
            // The news of its job comes after its end.
            if !runner.instance.may_live() {
                self.finish(&runner.name, job, now);
            }
            self.put(runner, now);
        }
    }
}

/// What the failures of a runner's like are remembered under.
fn creation_key(runner: &Runner) -> TroubleKey {
    TroubleKey::Creation {
        pool: runner.pool(),
        backend: runner.backend.clone(),
        mark: runner.mark.clone(),
    }
}
