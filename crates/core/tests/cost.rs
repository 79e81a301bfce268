//! What a pass costs with 10,000 live runners and one changed job. A measurement, not a test:
//! `cargo test --release -p dayfly-core --test cost -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dayfly_core::{
    effect::{Outcome, ScaleSetCall, ScaleSetOutcome},
    model::{
        BackendName, ControllerId, Deadlines, DemandSource, Exit, Instance, InstanceId,
        InstanceSpec, JobEntry, JobEntryKind, JobId, Limits, Message, MessageId, Place, Placement,
        PoolName, PoolSpec, PoolState, Registration, RegistrationId, Runner, RunnerGroupId,
        RunnerName, ScaleSetId, ScaleSetSpec, ScaleSetTrack, ScopeKind, ScopeName, ScopeSpec,
        SessionId, SessionTrack, Spec, Statistics, Suffix,
    },
    plan::pass,
    ports::{Capabilities, HandOver, Ids, Stored},
    world::World,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

const RUNNERS: u32 = 10_000;
const ROUNDS: u32 = 200;

struct Counting(u64);

impl Ids for Counting {
    fn suffix(&mut self) -> Suffix {
        self.0 += 1;
        Suffix::from_bits(self.0)
    }
}

/// A controller with this many busy runners, in as many pools, in the middle of its life.
struct Controller {
    world: World,
    spec: Spec,
    names: Vec<RunnerName>,
    now: Timestamp,
    ids: Counting,
}

impl Controller {
    fn new(pools: u32) -> Self {
        let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        let controller = ControllerId(Uuid::from_u128(1));
        let scope = ScopeName::new("acme").unwrap();
        let backend = BackendName::new("here").unwrap();
        let mut spec = Spec::default();
        let kind = ScopeKind::Organization("acme".into());
        let url = "https://github.example/acme".into();
        spec.scopes.insert(scope.clone(), ScopeSpec { url, kind, repositories: Vec::new() });
        let mut ids = Counting(0);
        let mut stored = Stored {
            controller,
            clock: Some(now),
            runners: Vec::new(),
            pools: Vec::new(),
            jobs: Vec::new(),
            workflow_jobs: Vec::new(),
            scopes: Vec::new(),
            troubles: Vec::new(),
        };
        let mut names = Vec::new();
        for number in 0..pools {
            let name = PoolName::new(format!("pool-{number}")).unwrap();
            spec.pools.insert(name.clone(), pool_spec(&name, &scope, &backend));
            stored.pools.push(pool_state(&name, &scope, number));
            for _ in 0..RUNNERS / pools {
                let runner = RunnerName::compose(&name, controller, ids.suffix());
                stored.runners.push(busy(runner.clone(), &backend, now));
                names.push(runner);
            }
        }
        let capabilities = Capabilities {
            hand_over: HandOver::Push,
            creates_max: 64,
            ready_in_four_minutes: 1_000,
            boots_fast: true,
            names_are_unique: true,
        };
        let backends = BTreeMap::from([(backend.clone(), capabilities)]);
        let world = World::new(stored, &spec, backends, now);
        let mut this = Self { world, spec, names, now, ids };
        let _ = this.pass();
        for number in 0..pools {
            this.world.apply(session(number, RUNNERS / pools), now);
        }
        let result = Ok(this
            .names
            .iter()
            .map(|name| dayfly_core::ports::InstanceRecord {
                runner: name.clone(),
                id: InstanceId(name.as_str().into()),
                status: dayfly_core::ports::InstanceStatus::Running,
                created_at: None,
            })
            .collect());
        let capacity = None;
        let listed = Outcome::ListedInstances { backend, began_at: now, result, capacity };
        this.world.apply(listed, now);
        let result = Ok(Vec::new());
        this.world.apply(Outcome::ListedRegistrations { scope, began_at: now, result }, now);
        let _ = this.pass();
        this
    }

    fn pass(&mut self) -> usize {
        let done = pass(&mut self.world, &self.spec, self.now, &mut self.ids);
        done.effects.len() + done.batch.runners.len() + done.batch.jobs.len()
    }

    /// The time of one turn: taking in, planning, beginning, handing out the changes.
    fn turn(&mut self, outcome: Outcome) -> Duration {
        self.now += SignedDuration::from_millis(50);
        #[expect(clippy::disallowed_methods, reason = "a measurement of the machine's own time")]
        let began = Instant::now();
        self.world.apply(outcome, self.now);
        let changed = self.pass();
        let took = began.elapsed();
        assert!(changed > 0, "a turn without a change measures nothing");
        took
    }
}

fn pool_spec(name: &PoolName, scope: &ScopeName, backend: &BackendName) -> PoolSpec {
    PoolSpec {
        name: name.clone(),
        scope: scope.clone(),
        labels: vec!["linux".into()],
        group: "Default".into(),
        demand: DemandSource::ScaleSet(ScaleSetSpec { name: name.to_string(), adopt: false }),
        places: vec![Place {
            backend: backend.clone(),
            instance: Arc::new(InstanceSpec::default()),
            mark: "mark".into(),
        }],
        placement: Placement::InOrder,
        priority: 0,
        limits: Limits { warm: 0, min_idle: 0, max: RUNNERS * 2 },
        schedules: Vec::new(),
        deadlines: Deadlines::default(),
    }
}

fn pool_state(name: &PoolName, scope: &ScopeName, number: u32) -> PoolState {
    let mut state = PoolState::new(name.clone());
    state.generation = 1;
    state.scale_set = ScaleSetTrack::Present {
        id: ScaleSetId(i64::from(number)),
        group: RunnerGroupId(1),
        group_name: None,
        scope: scope.clone(),
        name: name.to_string(),
        labels: vec![name.to_string(), "self-hosted".into(), "linux".into()],
        made: true,
    };
    state.session = SessionTrack::Open { id: session_id(number), since: Timestamp::UNIX_EPOCH };
    state
}

fn session_id(number: u32) -> SessionId {
    SessionId(format!("s{number}").into())
}

fn session(number: u32, assigned: u32) -> Outcome {
    let set = ScaleSetId(i64::from(number));
    let statistics = Statistics { assigned, running: assigned, ..Statistics::default() };
    Outcome::ScaleSet {
        pool: PoolName::new(format!("pool-{number}")).unwrap(),
        call: ScaleSetCall::RefreshSession(set, session_id(number)),
        result: ScaleSetOutcome::Session { id: session_id(number), statistics },
    }
}

fn busy(name: RunnerName, backend: &BackendName, now: Timestamp) -> Runner {
    let id = InstanceId(name.as_str().into());
    let job = Some(JobId(name.as_str().into()));
    let mut runner = Runner::planned(name, backend.clone(), "mark".into(), now);
    runner.generation = 1;
    runner.had_job = true;
    runner.instance = Instance::Spent { since: now, id };
    runner.registration =
        Registration::Busy { since: now, id: Some(RegistrationId(1)), job, completed_at: None };
    runner
}

fn assigned(pool: &PoolName, number: u32, total: u32) -> Outcome {
    let entry = JobEntry {
        kind: JobEntryKind::Assigned,
        id: JobId(format!("new-{number}").into()),
        request_id: 0,
        repository: "acme/app".into(),
        display_name: "build".into(),
        run_id: 1,
        labels: vec!["linux".into()],
        queued_at: None,
    };
    let assigned = total + number;
    let statistics = Some(Statistics { assigned, ..Statistics::default() });
    let id = MessageId(i64::from(number) + 1);
    let message = Message { id, statistics, entries: vec![entry], unreadable: Vec::new() };
    Outcome::Polled { pool: pool.clone(), capacity: 0, result: Ok(Some(message)) }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let middle = times[times.len() / 2];
    let longest = times[times.len() - 1];
    println!("{what}: median {middle:?}, longest {longest:?}, of {}", times.len());
}

#[test]
#[ignore = "a measurement, for a release build"]
fn pass_with_ten_thousand_live_runners() {
    for pools in [1, 50] {
        let mut controller = Controller::new(pools);
        let pool = controller.names[0].pool();
        let total = RUNNERS / pools;
        let jobs = (0..ROUNDS).map(|number| controller.turn(assigned(&pool, number, total)));
        print(&format!("{pools} pools: a job is assigned"), jobs.collect());
        let ends: Vec<_> = controller.names.iter().take(ROUNDS as usize).cloned().collect();
        let exit = Exit { code: Some(0), ..Exit::default() };
        let ended = |runner| Outcome::InstanceEnded { runner, exit: exit.clone() };
        let times = ends.into_iter().map(|runner| controller.turn(ended(runner)));
        print(&format!("{pools} pools: a runner ends"), times.collect());
        let all: Vec<_> =
            controller.names.iter().skip(ROUNDS as usize).take(2_000).cloned().collect();
        for runner in all {
            controller.world.apply(ended(runner), controller.now);
        }
        let name = controller.names[5_000].clone();
        let times = vec![controller.turn(ended(name))];
        print(&format!("{pools} pools: 2,000 runners end at once"), times);
        let later = controller.names.iter().skip(6_000).take(20).cloned().collect::<Vec<_>>();
        let times = later.into_iter().map(|runner| controller.turn(ended(runner)));
        print(&format!("{pools} pools: one more ends beside them"), times.collect());
    }
}
