//! Begins effects: each in a task of its own, bounded, with exactly one outcome for each flight.
//!
//! Must never decide whether an effect is wise, nor begin one before its batch is committed (the controller's duty).

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    effect::{
        Effect, InstanceCall, InstanceOutcome, Outcome, RegistrationCall, RegistrationOutcome,
        ScaleSetOutcome,
    },
    model::{BackendName, PoolName, RunnerName, ScopeName},
    ports::{Backend, BackendError, BackendErrorKind, Clock, Forge, ForgeError, ForgeErrorKind},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{calls, inbox::Input, tasks::Tasks, timings::Recorder, vault::Vault};

/// How many calls on instances of one backend may be under way beside its creates, so that creates that hang keep
/// no hand-over and no removal from going on. An engine on one machine gains nothing from more.
const OTHER_CALLS_PER_BACKEND_MAX: usize = 32;

/// How many calls on registrations of one scope may be under way: GitHub asks for at most 100 concurrent requests
/// of a credential, which scale sets, polls, lists and other programs share.
const CALLS_PER_SCOPE_MAX: usize = 50;

/// A port with the bound on its calls.
struct Lane<P: ?Sized> {
    port: Arc<P>,
    permits: Arc<Semaphore>,
}

impl<P: ?Sized> Clone for Lane<P> {
    fn clone(&self) -> Self {
        Self { port: self.port.clone(), permits: self.permits.clone() }
    }
}

/// Begins effects.
pub(crate) struct Executor {
    forges: BTreeMap<ScopeName, Lane<dyn Forge>>,
    backends: BTreeMap<BackendName, Lane<dyn Backend>>,
    polls: BTreeMap<PoolName, CancellationToken>,
    vault: Vault,
    common: Common,
}

/// What every call's task needs.
#[derive(Clone)]
struct Common {
    answers: mpsc::Sender<Input>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    tasks: Tasks,
}

impl Common {
    /// Runs a call in its own task; its outcome goes to the controller, which is gone only when all ends.
    fn run(&self, call: impl Future<Output = Outcome> + Send + 'static) {
        let answers = self.answers.clone();
        self.tasks.call(async move {
            let outcome = call.await;
            let _ = answers.send(Input::now(outcome)).await;
        });
    }
}

impl Executor {
    pub(crate) fn new(
        forges: &BTreeMap<ScopeName, Arc<dyn Forge>>,
        backends: &BTreeMap<BackendName, Arc<dyn Backend>>,
        answers: mpsc::Sender<Input>,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        tasks: Tasks,
    ) -> Self {
        let forges = forges.iter().map(|(name, port)| {
            (
                name.clone(),
                Lane { port: port.clone(), permits: Arc::new(Semaphore::new(CALLS_PER_SCOPE_MAX)) },
            )
        });
        let backends = backends.iter().map(|(name, port)| {
            let creates = usize::try_from(port.capabilities().creates_max).unwrap_or(usize::MAX);
            let permits =
                creates.saturating_add(OTHER_CALLS_PER_BACKEND_MAX).min(Semaphore::MAX_PERMITS);
            (name.clone(), Lane { port: port.clone(), permits: Arc::new(Semaphore::new(permits)) })
        });
        Self {
            forges: forges.collect(),
            backends: backends.collect(),
            polls: BTreeMap::new(),
            vault: Vault::new(),
            common: Common { answers, clock, recorder, tasks },
        }
    }

    /// Drops a runner's JIT configuration, if one is held: its row is gone.
    pub(crate) fn forget(&self, runner: &RunnerName) {
        self.vault.take(runner);
    }

    /// Begins an effect. `evidence` is when the evidence for a new runner arrived, for a create call.
    pub(crate) fn begin(&mut self, effect: Effect, evidence: Option<Instant>) {
        match effect {
            Effect::Instance { runner, backend, call } => {
                self.instance(runner, &backend, call, evidence);
            }
            Effect::Registration { runner, scope, call } => self.registration(runner, &scope, call),
            Effect::ScaleSet { pool, scope, call } => {
                let lane = self.forge(&scope);
                let ending = self.ending();
                self.common.run(async move {
                    let result = match lane {
                        Ok(lane) => calls::scale_set(&*lane.port, &ending, &pool, &call).await,
                        Err(error) => ScaleSetOutcome::Failed(error),
                    };
                    Outcome::ScaleSet { pool, call, result }
                });
            }
            Effect::Poll { pool, scope, set, cursor, capacity } => {
                let lane = self.forge(&scope);
                let ending = self.ending();
                let stop = CancellationToken::new();
                self.polls.insert(pool.clone(), stop.clone());
                self.common.run(async move {
                    let answer = match lane {
                        Ok(lane) => {
                            calls::poll(&*lane.port, &ending, &stop, &pool, (set, cursor, capacity))
                                .await
                        }
                        Err(error) => Some(Err(error)),
                    };
                    match answer {
                        Some(result) => Outcome::Polled { pool, capacity, result },
                        None => Outcome::PollStopped { pool },
                    }
                });
            }
            Effect::StopPoll { pool } => {
                if let Some(stop) = self.polls.remove(&pool) {
                    stop.cancel();
                }
            }
            Effect::Acknowledge { pool, scope, set, message } => {
                let lane = self.forge(&scope);
                let ending = self.ending();
                self.common.run(async move {
                    let result = match lane {
                        Ok(lane) => {
                            calls::acknowledge(&*lane.port, &ending, &pool, set, message).await
                        }
                        Err(error) => Err(error),
                    };
                    Outcome::Acknowledged { pool, message, result }
                });
            }
            Effect::ListInstances { backend, measures } => {
                let lane = self.backend(&backend);
                let ending = self.ending();
                let clock = self.common.clock.clone();
                self.common.run(async move {
                    let began_at = clock.now();
                    let listed = match lane {
                        Ok(lane) => calls::list_instances(&*lane.port, &ending, measures).await,
                        Err(error) => Err(error),
                    };
                    let (result, capacity) = match listed {
                        Ok((records, capacity)) => (Ok(records), capacity),
                        Err(error) => (Err(error), None),
                    };
                    Outcome::ListedInstances { backend, began_at, result, capacity }
                });
            }
            Effect::ListRegistrations { scope } => {
                let lane = self.forge(&scope);
                let ending = self.ending();
                let clock = self.common.clock.clone();
                self.common.run(async move {
                    let began_at = clock.now();
                    let result = match lane {
                        Ok(lane) => calls::list_registrations(&*lane.port, &ending).await,
                        Err(error) => Err(error),
                    };
                    Outcome::ListedRegistrations { scope, began_at, result }
                });
            }
            Effect::CatchUp { scope, repositories, cursor } => {
                let lane = self.forge(&scope);
                let ending = self.ending();
                let clock = self.common.clock.clone();
                self.common.run(async move {
                    let began_at = clock.now();
                    let result = match lane {
                        Ok(lane) => {
                            calls::catch_up(&*lane.port, &ending, &scope, &repositories, cursor)
                                .await
                        }
                        Err(error) => Err(error),
                    };
                    Outcome::CaughtUp { scope, began_at, result }
                });
            }
            Effect::ReadJob { scope, repository, job } => {
                let lane = self.forge(&scope);
                let ending = self.ending();
                let clock = self.common.clock.clone();
                self.common.run(async move {
                    let began_at = clock.now();
                    let result = match lane {
                        Ok(lane) => calls::read_job(&*lane.port, &ending, &repository, job).await,
                        Err(error) => Err(error),
                    };
                    Outcome::JobRead { scope, job, began_at, result }
                });
            }
        }
    }

    fn instance(
        &self,
        runner: RunnerName,
        backend: &BackendName,
        call: InstanceCall,
        evidence: Option<Instant>,
    ) {
        if matches!(call, InstanceCall::Destroy { .. }) {
            self.forget(&runner);
        }
        let lane = self.backend(backend);
        let (vault, ending, recorder) =
            (self.vault.clone(), self.ending(), self.common.recorder.clone());
        self.common.run(async move {
            let result = match lane {
                Ok(lane) => {
                    // A semaphore that is never closed; without a permit, the call is bounded all the same.
                    let _permit = lane.permits.acquire_owned().await;
                    if let (InstanceCall::Create(_), Some(evidence)) = (&call, evidence) {
                        recorder.create(evidence.elapsed());
                    }
                    calls::instance(&*lane.port, &vault, &ending, &runner, &call).await
                }
                Err(error) => InstanceOutcome::Failed(error),
            };
            Outcome::Instance { runner, call, result }
        });
    }

    fn registration(&self, runner: RunnerName, scope: &ScopeName, call: RegistrationCall) {
        if matches!(call, RegistrationCall::Mint(_) | RegistrationCall::Remove(_)) {
            self.forget(&runner);
        }
        let lane = self.forge(scope);
        let (vault, ending) = (self.vault.clone(), self.ending());
        self.common.run(async move {
            let result = match lane {
                Ok(lane) => {
                    let _permit = lane.permits.acquire_owned().await;
                    calls::registration(&*lane.port, &vault, &ending, &runner, &call).await
                }
                Err(error) => RegistrationOutcome::Failed(error),
            };
            Outcome::Registration { runner, call, result }
        });
    }

    fn ending(&self) -> CancellationToken {
        self.common.tasks.ending().clone()
    }

    fn forge(&self, scope: &ScopeName) -> Result<Lane<dyn Forge>, ForgeError> {
        self.forges.get(scope).cloned().ok_or_else(|| ForgeError {
            kind: ForgeErrorKind::Refused,
            operation: format!("reach scope {scope}"),
            detail: "it is not in the configuration; put it back there to have what is left in it removed".to_owned(),
        })
    }

    fn backend(&self, backend: &BackendName) -> Result<Lane<dyn Backend>, BackendError> {
        self.backends.get(backend).cloned().ok_or_else(|| BackendError {
            kind: BackendErrorKind::NotAllowed,
            operation: format!("reach backend {backend}"),
            detail: "it is not in the configuration; put it back there to have what is left on it removed".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use dayfly_core::{
        effect::{Flight, Membership, ScaleSetCall},
        model::{InstanceSpec, MessageId, RegistrationId, ScaleSetId, WorkflowJobId},
        ports::JitConfig,
    };

    use super::*;
    use crate::clock::SteadyClock;

    fn executor() -> (Executor, mpsc::Receiver<Input>) {
        let (answers, outcomes) = mpsc::channel(16);
        let clock: Arc<dyn Clock> = Arc::new(SteadyClock::starting_at(jiff::Timestamp::UNIX_EPOCH));
        let (forges, backends) = (BTreeMap::new(), BTreeMap::new());
        (
            Executor::new(
                &forges,
                &backends,
                answers,
                clock,
                Recorder::default(),
                Tasks::default(),
            ),
            outcomes,
        )
    }

    fn runner() -> RunnerName {
        RunnerName::new("linux-aaaabbbbbbbbbb").unwrap()
    }

    fn instance(call: InstanceCall) -> Effect {
        Effect::Instance { runner: runner(), backend: "here".to_owned().try_into().unwrap(), call }
    }

    fn registration(call: RegistrationCall) -> Effect {
        Effect::Registration {
            runner: runner(),
            scope: "acme".to_owned().try_into().unwrap(),
            call,
        }
    }

    fn landed(outcome: &Outcome) -> Flight {
        match outcome {
            Outcome::Instance { runner, .. } => Flight::Instance(runner.clone()),
            Outcome::Registration { runner, .. } => Flight::Registration(runner.clone()),
            Outcome::ScaleSet { pool, .. } => Flight::ScaleSet(pool.clone()),
            Outcome::Polled { pool, .. } | Outcome::PollStopped { pool } => {
                Flight::Poll(pool.clone())
            }
            Outcome::Acknowledged { pool, message, .. } => {
                Flight::Acknowledge(pool.clone(), *message)
            }
            Outcome::ListedInstances { backend, .. } => Flight::ListInstances(backend.clone()),
            Outcome::ListedRegistrations { scope, .. } => Flight::ListRegistrations(scope.clone()),
            Outcome::CaughtUp { scope, .. } => Flight::CatchUp(scope.clone()),
            Outcome::JobRead { scope, job, .. } => Flight::ReadJob(scope.clone(), *job),
            other => panic!("{other:?} answers no effect"),
        }
    }

    #[tokio::test]
    async fn every_flight_lands_once_even_where_its_port_is_gone() {
        let (pool, scope): (PoolName, ScopeName) =
            ("linux".to_owned().try_into().unwrap(), "acme".to_owned().try_into().unwrap());
        let (set, message) = (ScaleSetId(1), MessageId(2));
        let effects = [
            instance(InstanceCall::Create(Arc::new(InstanceSpec::default()))),
            instance(InstanceCall::Destroy { force: false }),
            registration(RegistrationCall::Mint(Membership::ScaleSet(set))),
            Effect::ScaleSet {
                pool: pool.clone(),
                scope: scope.clone(),
                call: ScaleSetCall::OpenSession(set),
            },
            Effect::Poll {
                pool: pool.clone(),
                scope: scope.clone(),
                set,
                cursor: message,
                capacity: 1,
            },
            Effect::Acknowledge { pool: pool.clone(), scope: scope.clone(), set, message },
            Effect::ListInstances {
                backend: "here".to_owned().try_into().unwrap(),
                measures: false,
            },
            Effect::ListRegistrations { scope: scope.clone() },
            Effect::CatchUp { scope: scope.clone(), repositories: Vec::new(), cursor: None },
            Effect::ReadJob {
                scope,
                repository: "acme/app".to_owned(),
                job: WorkflowJobId { id: 1, attempt: 1 },
            },
            Effect::StopPoll { pool },
        ];
        for effect in effects {
            let (mut executor, mut outcomes) = executor();
            let flight = effect.flight();
            executor.begin(effect, None);
            executor.common.tasks.end();
            executor.common.tasks.gone().await;
            drop(executor);
            let mut landings = Vec::new();
            while let Some(Input::Happened { outcome, .. }) = outcomes.recv().await {
                landings.push(landed(&outcome));
            }
            assert_eq!(landings, Vec::from_iter(flight));
        }
    }

    #[tokio::test]
    async fn a_configuration_is_dropped_when_its_runner_is_given_up() {
        let check = |effect: Effect, kept: bool| {
            let (mut executor, _outcomes) = executor();
            executor.vault.keep(runner(), JitConfig::new("secret".to_owned()));
            let shown = format!("{effect:?}");
            executor.begin(effect, None);
            assert_eq!(executor.vault.take(&runner()).is_some(), kept, "{shown}");
        };
        check(registration(RegistrationCall::Remove(RegistrationId(1))), false);
        check(registration(RegistrationCall::Mint(Membership::ScaleSet(ScaleSetId(1)))), false);
        check(instance(InstanceCall::Destroy { force: true }), false);
        check(registration(RegistrationCall::Find), true);
        check(instance(InstanceCall::Inspect), true);
    }
}
