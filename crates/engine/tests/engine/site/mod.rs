//! A small world outside: a GitHub with one scale set, engines, a disk. Stateful fakes behind the real ports, on
//! virtual time. A runner that is handed its configuration takes the oldest waiting job, runs it, and ends.

mod backend;
mod forge;
mod store;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use dayfly_core::{
    model::{
        ControllerId, Deadlines, DemandSource, Event, Exit, InstanceSpec, JobEntry, JobEntryKind,
        JobId, Limits, Message, MessageId, Place, Placement, PoolSpec, RegistrationId, RunnerName,
        ScaleSetSpec, ScopeKind, ScopeSpec, SessionId, Spec, Statistics, Suffix, WorkflowJob,
        later,
    },
    ports::{
        Backend, Clock, EventSink, Forge, Ids, InstanceEvent, InstanceStatus, ScaleSetRecord, Store,
    },
};
use dayfly_engine::{Engine, Handle, Ports, SteadyClock, StoreDriver};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

pub use backend::{FakeBackend, Fault};
pub use store::FakeStore;

/// How long a job takes.
pub const JOB: Duration = Duration::from_secs(30);

/// A registration at GitHub.
pub struct Registered {
    pub id: RegistrationId,
    pub online: bool,
    pub job: Option<String>,
}

/// A job at GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    Waiting,
    Running(String),
    Done,
}

/// An instance in an engine.
pub struct Made {
    pub backend: String,
    pub status: InstanceStatus,
}

/// What GitHub and the engines know. Sets go by pool name.
#[derive(Default)]
pub struct State {
    pub sets: BTreeMap<i64, ScaleSetRecord>,
    pub sessions: BTreeMap<i64, SessionId>,
    pub registrations: BTreeMap<String, (i64, Registered)>,
    pub jobs: BTreeMap<String, (i64, Job)>,
    /// What its REST API tells of jobs, by their public id.
    pub workflow_jobs: BTreeMap<i64, WorkflowJob>,
    pub messages: Vec<(i64, Message)>,
    pub instances: BTreeMap<RunnerName, Made>,
    pub watchers: BTreeMap<String, mpsc::UnboundedSender<Vec<InstanceEvent>>>,
    pub faults: BTreeMap<String, Fault>,
    pub sessions_hang: bool,
    pub next: i64,
    pub journal: Vec<String>,
}

impl State {
    pub fn next(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    pub fn statistics(&self, set: i64) -> Statistics {
        let count = |wanted: fn(&Job) -> bool| {
            let jobs = self.jobs.values().filter(|(of, job)| *of == set && wanted(job)).count();
            u32::try_from(jobs).unwrap()
        };
        let registered = self.registrations.values().filter(|(of, _)| *of == set).count();
        Statistics {
            assigned: count(|job| *job != Job::Done),
            running: count(|job| matches!(job, Job::Running(_))),
            registered: u32::try_from(registered).unwrap(),
            ..Statistics::default()
        }
    }

    fn tell(&mut self, set: i64, job: &str, kind: JobEntryKind) {
        let entry = JobEntry {
            kind,
            id: JobId(job.into()),
            request_id: 0,
            repository: "acme/app".into(),
            display_name: job.into(),
            run_id: 1,
            labels: vec!["self-hosted".into()],
            queued_at: None,
        };
        let message = Message {
            id: MessageId(self.next()),
            statistics: Some(self.statistics(set)),
            entries: vec![entry],
            unreadable: Vec::new(),
        };
        self.messages.push((set, message));
    }
}

/// The world outside.
#[derive(Clone)]
pub struct Site {
    state: Arc<Mutex<State>>,
    bell: Arc<Notify>,
    tasks: TaskTracker,
    since: Instant,
}

impl Site {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            bell: Arc::new(Notify::new()),
            tasks: TaskTracker::new(),
            since: Instant::now(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Writes a line into the journal, with the virtual time.
    pub fn note(&self, line: impl AsRef<str>) {
        let line = format!("{:>9} {}", self.since.elapsed().as_millis(), line.as_ref());
        self.state().journal.push(line);
    }

    pub fn journal(&self) -> Vec<String> {
        self.state().journal.clone()
    }

    /// How many lines of the journal contain a text.
    pub fn noted(&self, text: &str) -> usize {
        self.state().journal.iter().filter(|line| line.contains(text)).count()
    }

    /// Queues a job that GitHub gives to the pool's set at once.
    pub fn queue(&self, pool: &str, job: &str) {
        let mut state = self.state();
        let set = state.sets.values().find(|set| set.name == pool).unwrap().id.0;
        state.jobs.insert(job.to_owned(), (set, Job::Waiting));
        state.tell(set, job, JobEntryKind::Assigned);
        drop(state);
        self.bell.notify_waiters();
    }

    pub fn job(&self, job: &str) -> Option<Job> {
        self.state().jobs.get(job).map(|(_, job)| job.clone())
    }

    /// The runner program in an instance begins.
    fn start_runner(&self, runner: RunnerName) {
        let site = self.clone();
        self.tasks.spawn(async move {
            let took = {
                let mut state = site.state();
                let Some((set, registered)) = state.registrations.get_mut(runner.as_str()) else {
                    return;
                };
                let set = *set;
                registered.online = true;
                let job = state
                    .jobs
                    .iter()
                    .find(|(_, (of, job))| *of == set && *job == Job::Waiting)
                    .map(|(name, _)| name.clone());
                let Some(job) = job else { return };
                state.jobs.insert(job.clone(), (set, Job::Running(runner.to_string())));
                state.registrations.get_mut(runner.as_str()).unwrap().1.job = Some(job.clone());
                state.tell(set, &job, JobEntryKind::Started { runner: runner.to_string() });
                (set, job)
            };
            site.bell.notify_waiters();
            sleep(JOB).await;
            site.complete(took, &runner);
        });
    }

    fn complete(&self, (set, job): (i64, String), runner: &RunnerName) {
        let mut state = self.state();
        state.jobs.insert(job.clone(), (set, Job::Done));
        state.registrations.remove(runner.as_str());
        let kind =
            JobEntryKind::Completed { result: "succeeded".into(), runner: runner.to_string() };
        state.tell(set, &job, kind);
        drop(state);
        self.bell.notify_waiters();
        self.end_instance(runner, Some(0));
    }

    /// An instance's process ends; its engine tells whoever watches.
    pub fn end_instance(&self, runner: &RunnerName, code: Option<i64>) {
        let mut state = self.state();
        let exit = Exit { code, ..Exit::default() };
        let Some(made) = state.instances.get_mut(runner) else { return };
        made.status = InstanceStatus::Ended(exit.clone());
        let backend = made.backend.clone();
        if let Some(watcher) = state.watchers.get(&backend) {
            let _ = watcher.send(vec![InstanceEvent::Ended(runner.clone(), exit)]);
        }
    }

    /// Sends a burst of events to whoever watches a backend.
    pub fn burst(&self, backend: &str, events: Vec<InstanceEvent>) {
        self.state().watchers[backend].send(events).unwrap();
    }

    /// Breaks a backend's event stream.
    pub fn break_watch(&self, backend: &str) {
        self.state().watchers.remove(backend);
    }

    pub fn fault(&self, backend: &str, fault: Fault) {
        self.state().faults.insert(backend.to_owned(), fault);
    }

    /// Waits for something to become true, an hour of virtual time at most.
    pub async fn until(&self, what: &str, mut is: impl FnMut(&State) -> bool) {
        for _ in 0..360_000 {
            if is(&self.state()) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; the journal:\n{}", self.journal().join("\n"));
    }
}

/// A pool that keeps nothing warm, on a backend of its own name.
pub fn pool(name: &str, warm: u32) -> PoolSpec {
    let instance = InstanceSpec { image: "runner".into(), ..InstanceSpec::default() };
    PoolSpec {
        name: name.to_owned().try_into().unwrap(),
        scope: "acme".to_owned().try_into().unwrap(),
        labels: Vec::new(),
        group: "Default".into(),
        demand: DemandSource::ScaleSet(ScaleSetSpec { name: name.into(), adopt: false }),
        places: vec![Place {
            backend: format!("on-{name}").try_into().unwrap(),
            mark: instance.mark().into(),
            instance: Arc::new(instance),
        }],
        placement: Placement::InOrder,
        priority: 0,
        limits: Limits { warm, min_idle: 0, max: 10 },
        schedules: Vec::new(),
        deadlines: Deadlines::default(),
    }
}

pub fn spec(pools: impl IntoIterator<Item = PoolSpec>) -> Arc<Spec> {
    let scope = ScopeSpec {
        url: "https://github.com/acme".into(),
        kind: ScopeKind::Organization("acme".into()),
        repositories: Vec::new(),
    };
    Arc::new(Spec {
        scopes: BTreeMap::from([("acme".to_owned().try_into().unwrap(), scope)]),
        pools: pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect(),
        ..Spec::default()
    })
}

/// Names in order.
struct Counted(u64);

impl Ids for Counted {
    fn suffix(&mut self) -> Suffix {
        self.0 += 1;
        Suffix::from_bits(self.0)
    }
}

impl EventSink for Site {
    fn emit(&self, event: &Event) {
        self.note(format!("event {}", serde_json::to_string(&event.kind).unwrap()));
    }
}

pub fn controller() -> ControllerId {
    ControllerId(uuid::Uuid::from_u128(7))
}

/// Starts the engine on a store, which may have been used before.
pub fn start(
    site: &Site,
    spec: &Arc<Spec>,
    store: &FakeStore,
    driver: StoreDriver,
) -> (Engine, Handle) {
    let wall =
        later("2026-11-21T08:00:00Z".parse().unwrap(), site.since.elapsed().try_into().unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::starting_at(wall));
    let forge: Arc<dyn Forge> = Arc::new(site.clone());
    let places = spec.pools.values().flat_map(|pool| &pool.places);
    let backends = places.map(|place| {
        let backend: Arc<dyn Backend> =
            Arc::new(FakeBackend::new(site.clone(), place.backend.as_str()));
        (place.backend.clone(), backend)
    });
    let mut store = store.clone();
    let stored = store.load().unwrap();
    let ports = Ports {
        forges: BTreeMap::from([("acme".to_owned().try_into().unwrap(), forge)]),
        backends: backends.collect(),
        store: Box::new(store),
        store_driver: driver,
        clock,
        ids: Box::new(Counted(stored.runners.len() as u64 * 1_000)),
        events: Arc::new(site.clone()),
    };
    let engine = dayfly_engine::start(spec.clone(), stored, ports);
    let handle = engine.handle();
    (engine, handle)
}
