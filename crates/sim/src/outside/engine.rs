//! An engine, as the daemon reaches it: the `Backend` port.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use dayfly_core::{
    model::{Capacity, ControllerId, Instance, InstanceId, InstanceSpec, Registration, RunnerName},
    ports::{
        Backend, BackendError, BackendErrorKind, BoxFuture, Capabilities, CreateRequest, Created,
        Finding, HandOver, InstanceRecord, JitConfig, WatchSink,
    },
};
use dayfly_github_sim::RunnerId;
use tokio::{sync::Notify, time::sleep};

use super::{
    Happening, Life, Outside, State,
    disk::index_of,
    machine::{MadeState, Watcher},
    transport::never,
};
use crate::{
    checks::Check,
    scenario::{EngineCall, EngineFault, EnginePlan},
};

/// How long a runner's program takes at most from its configuration to GitHub.
const STARTS_MS_MAX: u64 = 8_000;

/// One life's way to an engine.
pub(crate) struct EnginePort {
    pub(crate) outside: Arc<Outside>,
    pub(crate) life: Life,
    pub(crate) index: usize,
    pub(crate) plan: EnginePlan,
    pub(crate) controller: ControllerId,
}

/// What becomes of a call.
enum Fate<T> {
    /// The daemon died, or the engine never answers.
    Never,
    /// An answer, so much later.
    Answer(Duration, Result<T, BackendError>),
}

/// What a call does to the world.
type Deed<'a, T> =
    &'a mut (dyn FnMut(&mut State, Option<EngineFault>) -> Result<T, BackendError> + Send);

fn error(kind: BackendErrorKind, detail: &str) -> BackendError {
    BackendError {
        kind,
        operation: "ask the simulated engine".to_owned(),
        detail: detail.to_owned(),
    }
}

impl EnginePort {
    /// One call: a point, the deed as far as the fault lets, another point, and the way back.
    fn step<T>(&self, call: EngineCall, deed: Deed<'_, T>) -> Fate<T> {
        let Some(mut state) = self.outside.alive(self.life) else { return Fate::Never };
        let state = &mut *state;
        if self.outside.dies(state, "before a call on an engine") {
            return Fate::Never;
        }
        if state.engines[self.index].away > 0 {
            let gone = error(BackendErrorKind::Unreachable, "no route to the engine");
            return Fate::Answer(state.latency(), Err(gone));
        }
        let fault = state.engines[self.index].draw(call);
        if let Some(fault) = fault {
            state.count(name_of(fault));
        }
        let mut takes = state.latency();
        let unknown = || Err(error(BackendErrorKind::Unknown, "the answer was lost"));
        let answer = match fault {
            // A create that is refused is counted by the pool that asked.
            Some(_) if call == EngineCall::Create && fault.is_some_and(refuses) => {
                deed(state, fault)
            }
            Some(fault) if refuses(fault) => {
                Err(error(BackendErrorKind::Transient, "refused by a simulated fault"))
            }
            Some(EngineFault::Hangs) => return Fate::Never,
            Some(EngineFault::HangsDone) => {
                let _ = deed(state, fault);
                self.outside.ring(state);
                return Fate::Never;
            }
            Some(EngineFault::AnswerLost) => {
                let _ = deed(state, fault);
                unknown()
            }
            Some(EngineFault::Later(_)) if call == EngineCall::Create => {
                let _ = deed(state, fault);
                unknown()
            }
            Some(EngineFault::Slow(by)) => {
                takes += by;
                deed(state, fault)
            }
            _ => deed(state, fault),
        };
        state.settle_github();
        self.outside.ring(state);
        if self.outside.dies(state, "after a call on an engine") {
            return Fate::Never;
        }
        let takes = state.after(takes).saturating_sub(state.now());
        Fate::Answer(takes, answer)
    }

    async fn call<T>(&self, call: EngineCall, deed: Deed<'_, T>) -> Result<T, BackendError> {
        match self.step(call, deed) {
            Fate::Never => never().await,
            Fate::Answer(takes, answer) => {
                sleep(takes).await;
                if self.outside.lock().is_alive(self.life) { answer } else { never().await }
            }
        }
    }

    fn next_event(
        &self,
    ) -> Option<(VecDeque<dayfly_core::ports::InstanceEvent>, bool, Arc<Notify>)> {
        let mut state = self.outside.alive(self.life)?;
        let watcher = state.engines[self.index].watcher.as_mut()?;
        let events = std::mem::take(&mut watcher.events);
        Some((events, watcher.broken, Arc::clone(&watcher.bell)))
    }

    fn follow(&self) -> Option<bool> {
        let mut state = self.outside.alive(self.life)?;
        let machine = &mut state.engines[self.index];
        if machine.away > 0 {
            return Some(false);
        }
        machine.watcher =
            Some(Watcher { events: VecDeque::new(), broken: false, bell: Arc::new(Notify::new()) });
        Some(true)
    }
}

/// Whether a call with this fault does nothing and says so.
fn refuses(fault: EngineFault) -> bool {
    matches!(
        fault,
        EngineFault::NoCapacity
            | EngineFault::Quota
            | EngineFault::ImageMissing
            | EngineFault::Transient
    )
}

/// The fault's name in the report.
fn name_of(fault: EngineFault) -> &'static str {
    match fault {
        EngineFault::NoCapacity => "engine-no-capacity",
        EngineFault::Quota => "engine-quota",
        EngineFault::ImageMissing => "engine-image-missing",
        EngineFault::Transient => "engine-transient",
        EngineFault::Hangs => "engine-hangs",
        EngineFault::HangsDone => "engine-hangs-done",
        EngineFault::AnswerLost => "engine-answer-lost",
        EngineFault::Later(_) => "engine-creates-later",
        EngineFault::Twice => "engine-creates-twice",
        EngineFault::Slow(_) => "engine-slow",
        EngineFault::NeverBoots => "engine-never-boots",
        EngineFault::BootsAfter(_) => "engine-boots-late",
        EngineFault::Stale => "engine-stale-list",
        EngineFault::Partial => "engine-partial-list",
    }
}

impl State {
    /// What an instance is made from is what its row says: who looks for outdated ones goes by that.
    fn check_origin(&mut self, runner: &RunnerName, instance: &InstanceSpec) {
        let Some(pool) = index_of(runner.pool_str()) else { return };
        let made = self.mark_of(pool, instance);
        let told = self.disk.row(runner).map(|row| &*row.mark);
        let same = made.is_some() && made == told;
        self.look(Check::Origin, same, || {
            format!(
                "instance {runner} is made from {:?}, which is not what its row says",
                instance.image
            )
        });
    }

    fn create(
        &mut self,
        index: usize,
        runner: &RunnerName,
        fault: Option<EngineFault>,
    ) -> Result<Created, BackendError> {
        let stored = self
            .disk
            .row(runner)
            .is_some_and(|row| matches!(row.instance, Instance::Creating { .. }));
        self.look(Check::IntentFirst, stored, || {
            format!("instance {runner} is created without a stored intent")
        });
        if let Some(fault) = fault.filter(|fault| refuses(*fault)) {
            self.create_failed(runner);
            let kind = match fault {
                EngineFault::NoCapacity => BackendErrorKind::NoCapacity,
                EngineFault::Quota => BackendErrorKind::Quota,
                EngineFault::ImageMissing => BackendErrorKind::ImageMissing,
                _ => BackendErrorKind::Transient,
            };
            return Err(error(kind, "refused by a simulated fault"));
        }
        if let Some((_, made)) = self.engines[index].named(runner) {
            return Ok(Created { id: made.id.clone(), ready: made.state == MadeState::Running });
        }
        if self.engines[index].len() >= self.engines[index].plan.room as usize {
            self.count("engine-full");
            self.create_failed(runner);
            return Err(error(BackendErrorKind::NoCapacity, "the engine is full"));
        }
        if let Some(EngineFault::Later(by)) = fault {
            let at = self.after(by);
            self.engines[index].pending.insert(runner.clone());
            self.calendar.put(at, Happening::CreatedLate(index, runner.clone()));
            return Err(error(BackendErrorKind::Unknown, "perhaps"));
        }
        self.check_max(runner);
        self.check_backend_budget(index, runner);
        let id = self.make(index, runner, fault, false);
        if fault == Some(EngineFault::Twice) {
            self.make(index, runner, None, true);
        }
        Ok(Created { id, ready: false })
    }

    /// Makes an instance and lets it boot.
    pub(crate) fn make(
        &mut self,
        index: usize,
        runner: &RunnerName,
        fault: Option<EngineFault>,
        beyond: bool,
    ) -> InstanceId {
        let now = self.now();
        let serial = self.engines[index].make(runner, now, beyond);
        let boot = match fault {
            Some(EngineFault::NeverBoots) => None,
            Some(EngineFault::BootsAfter(late)) => Some(late),
            _ => Some(self.engines[index].plan.boot),
        };
        if let Some(boot) = boot {
            let at = self.after(boot);
            self.calendar.put(at, Happening::Booted(index, serial));
        }
        self.note(format_args!("engine e{index} makes {runner} ({serial})"));
        self.engines[index]
            .get(serial)
            .map_or_else(|| InstanceId("".into()), |made| made.id.clone())
    }

    fn hand_over(
        &mut self,
        index: usize,
        life: Life,
        runner: &RunnerName,
        id: &InstanceId,
        jit: &JitConfig,
    ) -> Result<(), BackendError> {
        let stored = self
            .disk
            .row(runner)
            .is_some_and(|row| matches!(row.registration, Registration::HandingOver { .. }));
        self.look(Check::IntentFirst, stored, || {
            format!("instance {runner} is handed a configuration without a stored intent")
        });
        let Some(serial) = self.engines[index].with_id(runner, id) else {
            return Err(error(BackendErrorKind::NotAllowed, "there is no such instance"));
        };
        let handed = self.engines[index].get(serial).map_or(0, |made| made.handed);
        self.look(Check::OneJob, handed == 0, || {
            format!("instance {runner} ({serial}) is handed a second configuration")
        });
        let Some(registration) = decode(jit.expose()) else {
            return Err(error(BackendErrorKind::NotAllowed, "the configuration is none"));
        };
        let began = self.github.life_began(life);
        let minted = self.sim.runner(registration).map(|facts| facts.created_at);
        let own_life = minted.is_none_or(|minted| minted >= super::timestamp(began));
        self.look(Check::ConfigurationInMemory, own_life, || {
            format!("instance {runner} is handed a configuration of an earlier life")
        });
        let Some(made) = self.engines[index].get_mut(serial) else {
            return Err(error(BackendErrorKind::NotAllowed, "there is no such instance"));
        };
        if made.state != MadeState::Running {
            return Err(error(BackendErrorKind::NotAllowed, "its waiter does not wait"));
        }
        made.handed += 1;
        made.registration = Some(registration);
        let starts = Duration::from_millis(self.latencies.u64(800..STARTS_MS_MAX));
        let at = self.after(starts);
        self.calendar.put(at, Happening::Connects(index, serial));
        self.note(format_args!(
            "engine e{index} hands {runner} ({serial}) registration {registration}"
        ));
        Ok(())
    }

    fn destroy(&mut self, index: usize, runner: &RunnerName) {
        let ours = runner.is_of(self.controller);
        self.look(Check::OursOnly, ours, || format!("instance {runner} is destroyed"));
        for serial in self.engines[index].all_named(runner) {
            self.check_destroy(index, serial);
            self.process_ends(index, serial, "destroyed", false);
            self.engines[index].remove(serial);
            self.note(format_args!("engine e{index} destroys {runner} ({serial})"));
        }
    }
}

/// The registration that a configuration is for (the form of it is GitHub's own: base64 of JSON of base64 of JSON).
fn decode(jit: &str) -> Option<RunnerId> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    #[derive(serde::Deserialize)]
    struct Files<'a> {
        #[serde(rename = ".runner", borrow)]
        runner: std::borrow::Cow<'a, str>,
    }
    #[derive(serde::Deserialize)]
    struct Settings<'a> {
        #[serde(rename = "AgentId", borrow)]
        id: std::borrow::Cow<'a, str>,
    }
    let files = BASE64_STANDARD.decode(jit).ok()?;
    let files: Files<'_> = serde_json::from_slice(&files).ok()?;
    let settings = BASE64_STANDARD.decode(files.runner.as_bytes()).ok()?;
    let settings: Settings<'_> = serde_json::from_slice(&settings).ok()?;
    settings.id.parse().ok().map(RunnerId)
}

impl Backend for EnginePort {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hand_over: HandOver::Push,
            creates_max: self.plan.creates,
            ready_in_four_minutes: self.plan.room,
            boots_fast: self.plan.fast,
            names_are_unique: self.plan.fast,
        }
    }

    fn controller(&self) -> ControllerId {
        self.controller
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceRecord>, BackendError>> {
        Box::pin(async move {
            let mut list = |state: &mut State, fault: Option<EngineFault>| {
                let now = state.now();
                let machine = &mut state.engines[self.index];
                Ok(match fault {
                    Some(EngineFault::Stale) => machine.stale_list(now),
                    Some(EngineFault::Partial) => {
                        let mut list = machine.list(now);
                        let mut at = 0;
                        list.retain(|_| {
                            at += 1;
                            at % 2 == 0
                        });
                        list
                    }
                    _ => machine.list(now),
                })
            };
            // An engine looks at its instances at any time between the call and its answer.
            if let Some(going) = self.outside.alive(self.life).map(|mut state| state.latency()) {
                sleep(going).await;
            }
            self.call(EngineCall::List, &mut list).await
        })
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>> {
        let cpu_millis = u64::from(self.plan.cpus.unwrap_or(0)) * 1_000;
        Box::pin(async move { Ok(Capacity { cpu_millis, memory_bytes: 0 }) })
    }

    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>> {
        Box::pin(async move {
            let mut inspect = |state: &mut State, _: Option<EngineFault>| {
                let machine = &state.engines[self.index];
                Ok(machine.named(runner).map(|(_, made)| machine.record(made)))
            };
            self.call(EngineCall::Inspect, &mut inspect).await
        })
    }

    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>> {
        Box::pin(async move {
            let mut create = |state: &mut State, fault: Option<EngineFault>| {
                state.check_origin(request.runner, request.spec);
                state.create(self.index, request.runner, fault)
            };
            self.call(EngineCall::Create, &mut create).await
        })
    }

    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let mut hand_over = |state: &mut State, _: Option<EngineFault>| {
                state.hand_over(self.index, self.life, runner, id, &jit)
            };
            self.call(EngineCall::HandOver, &mut hand_over).await
        })
    }

    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        _force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let mut destroy = |state: &mut State, _: Option<EngineFault>| {
                state.destroy(self.index, runner);
                Ok(())
            };
            self.call(EngineCall::Destroy, &mut destroy).await
        })
    }

    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(async move {
            match self.follow() {
                None => return never().await,
                Some(false) => {
                    return error(BackendErrorKind::Unreachable, "no route to the engine");
                }
                Some(true) => began(),
            }
            loop {
                let Some((events, broken, bell)) = self.next_event() else {
                    return never().await;
                };
                events.into_iter().for_each(sink);
                if broken {
                    return error(BackendErrorKind::Transient, "the stream broke");
                }
                bell.notified().await;
            }
        })
    }

    fn console<'a>(
        &'a self,
        _runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn check<'a>(&'a self, _spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async { Vec::new() })
    }
}
