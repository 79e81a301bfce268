//! The world outside the daemon: GitHub, the engines, the disk, the users, and time. One lock holds it all; every port of
//! the daemon is a thin way in.
//!
//! Nothing here is drawn at random, nothing waits, and nothing is done for a daemon that is dead: a crash is a moment after
//! which its ports do nothing.

mod calendar;
mod disk;
mod ending;
mod engine;
mod foreign;
mod github;
mod github_faults;
mod hooks;
mod jobs;
mod machine;
mod requests;
mod transport;
mod users;

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dayfly_core::{
    model::{ControllerId, Event, InstanceSpec, Spec},
    ports::{EventSink, Ids},
};
use dayfly_github::Credential;
use dayfly_github_sim::{HoldId, ScopeId, Sim};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use calendar::Calendar;
pub(crate) use calendar::Happening;
use disk::Disk;
pub(crate) use disk::DiskStore;
pub(crate) use engine::EnginePort;
use github::Github;
pub(crate) use github::{ADDRESS, OWNER};
pub(crate) use hooks::{Arrived, WEBHOOK, answer};
use jobs::Jobs;
use machine::Machine;
pub(crate) use transport::SimTransport;

use crate::{checks::Check, checks::Checks, log::Log, scenario::Scenario};

/// The world outside, and the bells that tell the driver of it.
pub(crate) struct Outside {
    state: Mutex<State>,
    /// Something is due earlier than was thought, or the daemon died.
    pub(crate) bell: Notify,
}

/// A life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) u64);

/// All of it.
pub(crate) struct State {
    pub(crate) scenario: Arc<Scenario>,
    started: Instant,
    /// The time, once somebody asked for it: none passes while the world is locked.
    now: Cell<Option<Duration>>,
    pub(crate) sim: Sim,
    pub(crate) scope: ScopeId,
    pub(crate) controller: ControllerId,
    /// What the daemon signs in with.
    pub(crate) credential: Credential,
    pub(crate) github: Github,
    pub(crate) engines: Vec<Machine>,
    pub(crate) disk: Disk,
    pub(crate) jobs: Jobs,
    pub(crate) calendar: Calendar,
    holds: BTreeMap<HoldId, Holder>,
    /// Deliveries that the daemon is to take now.
    arrived: Vec<Arrived>,
    pub(crate) log: Log,
    pub(crate) checks: Checks,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// The life that may act.
    alive: Option<Life>,
    lives: u64,
    /// Points passed until the next crash.
    crash_in: Option<u64>,
    latencies: fastrand::Rng,
    /// Until when the driver sleeps.
    pub(crate) armed: Option<Instant>,
    /// When creates of each pool were refused, since a job of it last began.
    failed_creates: BTreeMap<usize, std::collections::VecDeque<Duration>>,
    /// What the instances of each pool were to be made from, by its marks: the newest last.
    origins: BTreeMap<usize, Vec<Origin>>,
    /// When the last fault struck, or ended.
    pub(crate) last_fault: Duration,
    /// What went wrong outside, from when until when.
    troubles: Vec<Trouble>,
    /// Since when no daemon is alive.
    away_since: Duration,
    /// When the faults stopped; never, until they do.
    healed_at: Duration,
}

/// What instances are made from, and its mark in their rows.
struct Origin {
    instance: Arc<InstanceSpec>,
    mark: Arc<str>,
}

/// Something that can keep a job from its runner.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    from: Duration,
    until: Duration,
    /// As an excuse is counted.
    why: &'static str,
}

/// Who waits for a held request.
enum Holder {
    /// A call of the daemon.
    Call(tokio::sync::oneshot::Sender<dayfly_github_sim::Answer>),
    /// A runner: engine and serial number of its instance.
    Runner(usize, u64),
}

/// GitHub's time at the start.
const EPOCH_S: i64 = 1_767_225_600;

impl Outside {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), bell: Notify::new() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now.set(None);
        state
    }

    /// The world, if this life may still act on it.
    fn alive(&self, life: Life) -> Option<MutexGuard<'_, State>> {
        let state = self.lock();
        (state.alive == Some(life)).then_some(state)
    }

    /// Wakes the driver where something is due earlier than it thinks.
    fn ring(&self, state: &mut State) {
        let next = state.next();
        if let Some(at) = next
            && state.armed.is_none_or(|armed| at < armed)
        {
            state.armed = next;
            self.bell.notify_one();
        }
    }

    /// Passes a point at which the daemon may die. `true`: it did.
    fn dies(&self, state: &mut State, what: &str) -> bool {
        let dies = match &mut state.crash_in {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if dies {
            state.crash_in = None;
            state.alive = None;
            state.away_since = state.now();
            state.count("crash");
            let now = state.now();
            state.log.note(now, format_args!("the daemon dies: {what}"));
            self.bell.notify_one();
        }
        dies
    }
}

impl State {
    pub(crate) fn new(scenario: &Arc<Scenario>, keep_log: bool) -> Result<Self, String> {
        let controller = ControllerId(uuid::Uuid::from_u128(
            u128::from(scenario.seed) << 64 | 0x5eed_5eed_5eed_5eed,
        ));
        let (sim, scope, credential) = github::prepare(scenario)?;
        let engines =
            scenario.engines.iter().enumerate().map(|(at, plan)| Machine::new(at, plan.clone()));
        Ok(Self {
            started: Instant::now(),
            now: Cell::new(None),
            sim,
            scope,
            controller,
            credential,
            github: Github::default(),
            engines: engines.collect(),
            disk: Disk::new(controller)?,
            jobs: Jobs::default(),
            calendar: Calendar::default(),
            holds: BTreeMap::new(),
            arrived: Vec::new(),
            log: Log::new(keep_log),
            checks: Checks::default(),
            faults: BTreeMap::new(),
            alive: None,
            lives: 0,
            crash_in: None,
            latencies: fastrand::Rng::with_seed(scenario.seed ^ 0x6c61_7465_6e63_7900),
            armed: None,
            failed_creates: BTreeMap::new(),
            origins: BTreeMap::new(),
            last_fault: Duration::ZERO,
            troubles: Vec::new(),
            away_since: Duration::ZERO,
            healed_at: Duration::MAX,
            scenario: Arc::clone(scenario),
        })
    }

    /// Instances are to be made as this says from now on. All places of a pool make the same.
    pub(crate) fn remake(&mut self, spec: &Spec) {
        for (name, of) in &spec.pools {
            let (Some(index), Some(place)) = (disk::index_of(name.as_str()), of.places.first())
            else {
                continue;
            };
            let known = self.origins.entry(index).or_default();
            if known.last().is_none_or(|newest| newest.mark != place.mark) {
                let (instance, mark) = (Arc::clone(&place.instance), Arc::clone(&place.mark));
                known.push(Origin { instance, mark });
            }
        }
    }

    /// The mark of what a pool's instances were to be made from, by what they are made from.
    fn mark_of(&self, pool: usize, instance: &InstanceSpec) -> Option<&str> {
        let known = self.origins.get(&pool)?.iter();
        known.rev().find(|origin| *origin.instance == *instance).map(|origin| &*origin.mark)
    }

    /// The mark of what a pool's instances are to be made from now.
    fn newest_mark(&self, pool: usize) -> Option<&str> {
        self.origins.get(&pool)?.last().map(|origin| &*origin.mark)
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        let now = self.now.get().unwrap_or_else(|| self.started.elapsed());
        self.now.set(Some(now));
        now
    }

    /// GitHub's time.
    pub(crate) fn github_now(&self) -> Timestamp {
        timestamp(self.now())
    }

    /// The earliest that something happens outside by itself.
    pub(crate) fn next(&self) -> Option<Instant> {
        let github = self.sim.next_deadline().map(since_start);
        let own = self.calendar.next();
        let next = match (github, own) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        next.and_then(|at| self.started.checked_add(at))
    }

    /// A new life of the daemon begins; `Err` while another one has the store.
    pub(crate) fn begin_life(&mut self) -> Life {
        self.lives += 1;
        let life = Life(self.lives);
        self.alive = Some(life);
        let now = self.now();
        self.github.life_begins(life, now);
        let why = "three assignments were missed: the daemon was away";
        self.troubles.push(Trouble { from: self.away_since, until: now, why });
        self.last_fault = now;
        life
    }

    pub(crate) fn is_alive(&self, life: Life) -> bool {
        self.alive == Some(life)
    }

    pub(crate) fn end_life(&mut self) {
        self.alive = None;
        self.away_since = self.now();
        self.crash_in = None;
    }

    pub(crate) fn arm_crash(&mut self, points: u64) {
        self.crash_in = Some(points);
    }

    /// Whether a crash is on its way.
    pub(crate) fn will_die(&self) -> bool {
        self.crash_in.is_some()
    }

    pub(crate) fn disarm_crash(&mut self) {
        self.crash_in = None;
    }

    /// Counts a fault that struck.
    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
        let now = self.now();
        self.last_fault = now;
        self.troubles.push(Trouble { from: now, until: now, why: missed_by(fault) });
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let now = self.now();
        self.log.note(now, what);
    }

    pub(crate) fn look(&mut self, check: Check, kept: bool, what: impl FnOnce() -> String) {
        // Most looks find nothing: only a violation asks for the time.
        let found = self.checks.look(check, kept, || (self.started.elapsed(), what()));
        if let Some(violation) = found {
            self.log.note(violation.at, format_args!("VIOLATION {violation}"));
        }
    }

    /// How long a call takes: to the next tick at least, at most the scenario's latency.
    fn latency(&mut self) -> Duration {
        let tick = self.tick();
        let steps = (self.scenario.latency.as_millis() as u64 / tick).max(1);
        Duration::from_millis(self.latencies.u64(1..=steps) * tick)
    }

    fn tick(&self) -> u64 {
        (self.scenario.tick.as_millis() as u64).max(1)
    }

    /// From now until `wait` from now, at a tick.
    pub(crate) fn after(&self, wait: Duration) -> Duration {
        let tick = self.tick();
        let at = (self.now() + wait).as_millis() as u64;
        Duration::from_millis(at.div_ceil(tick) * tick)
    }
}

/// What an excuse for three missed assignments calls a fault.
fn missed_by(fault: &str) -> &'static str {
    match fault.split_once('-').map_or(fault, |(of, _)| of) {
        "github" => "three assignments were missed: GitHub's faults",
        "engine" => "three assignments were missed: engines' faults",
        "user" => "three assignments were missed: users' commands",
        "disk" => "three assignments were missed: the disk",
        "budget" => "three assignments were missed: a backend's budget was used up",
        _ => "three assignments were missed: the daemon was away",
    }
}

/// How long after the start GitHub's time `at` is.
fn since_start(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(timestamp(Duration::ZERO))).unwrap_or(Duration::ZERO)
}

/// GitHub's time, so long after the start.
pub(crate) fn timestamp(since_start: Duration) -> Timestamp {
    let since_start = SignedDuration::try_from(since_start).unwrap_or(SignedDuration::MAX);
    Timestamp::from_second(EPOCH_S)
        .and_then(|epoch| epoch.checked_add(since_start))
        .unwrap_or(Timestamp::MAX)
}

/// New names, from the seed and the life: no two lives give the same.
pub(crate) struct SeededIds(pub(crate) fastrand::Rng);

impl Ids for SeededIds {
    fn suffix(&mut self) -> dayfly_core::model::Suffix {
        dayfly_core::model::Suffix::from_bits(self.0.u64(..))
    }
}

/// The daemon's own event log, as part of the simulation's.
pub(crate) struct Events {
    pub(crate) outside: Arc<Outside>,
    pub(crate) life: Life,
}

impl EventSink for Events {
    fn emit(&self, event: &Event) {
        if let Some(mut state) = self.outside.alive(self.life) {
            let now = state.now();
            if let Err(error) = state.log.note_json(now, "  daemon: ", &event.kind) {
                state.look(Check::Lives, false, || error.to_string());
            }
        }
    }
}
