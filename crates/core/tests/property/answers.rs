//! How calls act on the world outside, and what comes back.

use dayfly_core::{
    effect::{
        Effect, InstanceCall, InstanceOutcome, Membership, Outcome, RegistrationCall,
        RegistrationOutcome, ScaleSetCall, ScaleSetOutcome,
    },
    model::{InstanceId, RegistrationId, RunnerGroupId, RunnerName, ScaleSetId, SessionId},
    ports::{
        BackendError, BackendErrorKind, CaughtUp, ForgeError, ForgeErrorKind, RunnerRecord,
        ScaleSetRecord,
    },
};
use jiff::Timestamp;

use super::outside::{Outside, Process};

/// How a call fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It acts, and the answer comes.
    Works,
    /// It acts, and the answer is lost.
    AnswerLost,
    /// It does not act.
    Fails,
}

impl Outside {
    /// Carries a call out.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn answer(
        &mut self,
        effect: &Effect,
        began_at: Timestamp,
        fate: Fate,
        zero_counts: bool,
    ) -> Result<Option<Outcome>, String> {
        Ok(Some(match effect.clone() {
            Effect::Instance { runner, backend, call } => {
                if matches!(call, InstanceCall::Create(_)) {
                    self.on.insert(runner.clone(), backend);
                }
                let mut result = if fate == Fate::Fails {
                    // All say that nothing was done.
                    let kinds = [
                        BackendErrorKind::Transient,
                        BackendErrorKind::NoCapacity,
                        BackendErrorKind::Unreachable,
                    ];
                    let kind = kinds[usize::try_from(self.id()).unwrap_or(0) % kinds.len()];
                    InstanceOutcome::Failed(engine_error(kind))
                } else {
                    self.instance(&runner, &call)?
                };
                if fate == Fate::AnswerLost {
                    result = InstanceOutcome::Failed(engine_error(BackendErrorKind::Unknown));
                }
                Outcome::Instance { runner, call, result }
            }
            Effect::Registration { runner, call, .. } => {
                let mut result = if fate == Fate::Fails {
                    RegistrationOutcome::Failed(github_error(ForgeErrorKind::Transient))
                } else {
                    self.registration(&runner, &call)
                };
                if fate == Fate::AnswerLost {
                    self.held.remove(&runner);
                    result = RegistrationOutcome::Failed(github_error(ForgeErrorKind::Transient));
                }
                Outcome::Registration { runner, call, result }
            }
            Effect::ScaleSet { pool, call, .. } => {
                let mut result = if fate == Fate::Fails {
                    ScaleSetOutcome::Failed(github_error(ForgeErrorKind::Transient))
                } else {
                    self.scale_set(&call)
                };
                if fate == Fate::AnswerLost {
                    result = ScaleSetOutcome::Failed(github_error(ForgeErrorKind::Transient));
                }
                Outcome::ScaleSet { pool, call, result }
            }
            Effect::Poll { pool, set, cursor, capacity, .. } => {
                let result = if self.set != Some(set) {
                    Err(github_error(ForgeErrorKind::ScaleSetGone))
                } else if self.session.is_none() {
                    Err(github_error(ForgeErrorKind::SessionGone))
                } else if fate == Fate::Fails {
                    Err(github_error(ForgeErrorKind::Transient))
                } else {
                    self.heard();
                    self.assign(capacity);
                    let message = self.message(cursor, zero_counts);
                    if fate == Fate::AnswerLost {
                        Err(github_error(ForgeErrorKind::Transient))
                    } else {
                        Ok(message)
                    }
                };
                Outcome::Polled { pool, capacity, result }
            }
            Effect::Acknowledge { pool, message, .. } => {
                if fate != Fate::Fails {
                    self.queue.remove(&message);
                }
                let result = match fate {
                    Fate::Works if self.session.is_none() => {
                        Err(github_error(ForgeErrorKind::SessionGone))
                    }
                    Fate::Works => Ok(()),
                    _ => Err(github_error(ForgeErrorKind::Transient)),
                };
                Outcome::Acknowledged { pool, message, result }
            }
            Effect::ListInstances { backend, .. } => {
                let result = if fate == Fate::Works {
                    let names = self.instances.keys();
                    let there = names.filter(|name| self.on.get(*name) == Some(&backend));
                    Ok(there.filter_map(|name| self.record(name)).collect())
                } else {
                    Err(engine_error(BackendErrorKind::Unreachable))
                };
                Outcome::ListedInstances { backend, began_at, result, capacity: None }
            }
            Effect::ListRegistrations { scope } => {
                let result = if fate == Fate::Works {
                    Ok(self.runner_records())
                } else {
                    Err(github_error(ForgeErrorKind::Transient))
                };
                Outcome::ListedRegistrations { scope, began_at, result }
            }
            Effect::CatchUp { scope, .. } => {
                let (jobs, cursor) = (self.open_jobs(), Some(self.id()));
                let result = if fate == Fate::Works {
                    Ok(CaughtUp { jobs, cursor, ..CaughtUp::default() })
                } else {
                    Err(github_error(ForgeErrorKind::Transient))
                };
                Outcome::CaughtUp { scope, began_at, result }
            }
            Effect::ReadJob { scope, job, .. } => {
                let result = if fate == Fate::Works {
                    Ok(self.workflow_job(job.id).map(Box::new))
                } else {
                    Err(github_error(ForgeErrorKind::Transient))
                };
                Outcome::JobRead { scope, job, began_at, result }
            }
            Effect::StopPoll { .. } => return Ok(None),
        }))
    }

    pub fn runner_records(&self) -> Vec<RunnerRecord> {
        self.registrations.keys().filter_map(|name| self.runner_record(name)).collect()
    }

    fn instance(
        &mut self,
        name: &RunnerName,
        call: &InstanceCall,
    ) -> Result<InstanceOutcome, String> {
        Ok(match call {
            InstanceCall::Create(_) => {
                let process = self.instances.entry(name.clone()).or_insert(Process::Booting);
                let ready = *process != Process::Booting;
                InstanceOutcome::Created { id: InstanceId(format!("i-{name}").into()), ready }
            }
            InstanceCall::Inspect => InstanceOutcome::Inspected(self.record(name)),
            InstanceCall::HandOver(_) => {
                let held = self.held.remove(name);
                match (self.instances.get(name), held) {
                    (Some(Process::Waiting), Some(id)) => {
                        self.hand_over(name, id)?;
                        InstanceOutcome::HandedOver
                    }
                    _ => InstanceOutcome::Failed(engine_error(BackendErrorKind::Transient)),
                }
            }
            InstanceCall::Destroy { .. } => {
                self.destroy(name)?;
                InstanceOutcome::Destroyed
            }
        })
    }

    fn registration(&mut self, name: &RunnerName, call: &RegistrationCall) -> RegistrationOutcome {
        let failed = |kind| RegistrationOutcome::Failed(github_error(kind));
        match call {
            RegistrationCall::Mint(Membership::ScaleSet(set)) if self.set != Some(*set) => {
                failed(ForgeErrorKind::ScaleSetGone)
            }
            RegistrationCall::Mint(_) => {
                // A name that is taken by a lost first try is made anew.
                let id = RegistrationId(self.id());
                self.registrations.insert(name.clone(), id);
                self.held.insert(name.clone(), id);
                RegistrationOutcome::Minted(id)
            }
            RegistrationCall::Find => RegistrationOutcome::Found(self.runner_record(name)),
            RegistrationCall::Remove(id) if self.registrations.get(name) == Some(id) => {
                if self.is_busy(name) {
                    return failed(ForgeErrorKind::Busy);
                }
                self.registrations.remove(name);
                RegistrationOutcome::Removed { existed: true }
            }
            RegistrationCall::Remove(_) => RegistrationOutcome::Removed { existed: false },
        }
    }

    fn scale_set(&mut self, call: &ScaleSetCall) -> ScaleSetOutcome {
        let failed = |kind| ScaleSetOutcome::Failed(github_error(kind));
        match call {
            ScaleSetCall::FindGroup(_) => ScaleSetOutcome::Group(RunnerGroupId(1)),
            ScaleSetCall::Find { name, .. } => ScaleSetOutcome::Set(
                self.set.map(|id| self.set_record(id, name, vec![name.clone()])),
            ),
            ScaleSetCall::Create { .. } if self.set.is_some() => failed(ForgeErrorKind::Conflict),
            ScaleSetCall::Create { name, labels, .. } => {
                let id = ScaleSetId(self.id());
                self.set = Some(id);
                ScaleSetOutcome::Set(Some(self.set_record(id, name, labels.clone())))
            }
            ScaleSetCall::Update { id, name, labels, .. } => {
                ScaleSetOutcome::Set(Some(self.set_record(*id, name, labels.clone())))
            }
            ScaleSetCall::Delete(id) => {
                if self.set == Some(*id) {
                    self.set = None;
                    self.session = None;
                }
                ScaleSetOutcome::Deleted
            }
            ScaleSetCall::OpenSession(id) if self.set != Some(*id) => {
                failed(ForgeErrorKind::ScaleSetGone)
            }
            ScaleSetCall::OpenSession(_) if self.session.is_some() => {
                failed(ForgeErrorKind::Conflict)
            }
            ScaleSetCall::OpenSession(_) => {
                let id = SessionId(format!("s{}", self.id()).into());
                self.session = Some(id.clone());
                self.heard();
                ScaleSetOutcome::Session { id, statistics: self.counts() }
            }
            ScaleSetCall::RefreshSession(_, id) => {
                if self.session.as_ref() == Some(id) {
                    self.heard();
                    ScaleSetOutcome::Session { id: id.clone(), statistics: self.counts() }
                } else {
                    failed(ForgeErrorKind::SessionGone)
                }
            }
            ScaleSetCall::CloseSession(_, id) => {
                if self.session.as_ref() == Some(id) {
                    self.session = None;
                }
                ScaleSetOutcome::SessionClosed
            }
            ScaleSetCall::Acquire(..) => ScaleSetOutcome::Acquired(Vec::new()),
        }
    }

    fn set_record(&self, id: ScaleSetId, name: &str, labels: Vec<String>) -> ScaleSetRecord {
        ScaleSetRecord {
            id,
            name: name.to_owned(),
            group: RunnerGroupId(1),
            labels,
            statistics: Some(self.counts()),
        }
    }
}

fn engine_error(kind: BackendErrorKind) -> BackendError {
    BackendError { kind, operation: "call the engine".into(), detail: "it said no".into() }
}

fn github_error(kind: ForgeErrorKind) -> ForgeError {
    ForgeError { kind, operation: "call GitHub".into(), detail: "it said no".into() }
}
