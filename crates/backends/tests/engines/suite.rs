//! What every backend promises, tried on one.

use std::{collections::BTreeMap, future::Future, sync::Mutex, time::Duration};

use dayfly_core::{
    model::{ControllerId, Exit, InstanceSpec, PoolName, RunnerName, Sign, Suffix},
    ports::{
        Backend, CreateRequest, Created, InstanceEvent, InstanceRecord, InstanceStatus, JitConfig,
    },
};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

/// Long enough for any engine on a loaded machine; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A runner program for the shell. What it does hangs on the registration that it gets.
pub const RUNNER: &str = r#"
say() { echo "2026-11-21 08:00:00Z: $*"; }
say "Listening for Jobs"
case $ACTIONS_RUNNER_INPUT_JITCONFIG in
quick*) ;;
slow*) sleep 2 ;;
*) echo "what is this?"; exit 9 ;;
esac
say "Running job: build"
say "Job build completed with result: Succeeded"
echo "done"
exit 7
"#;

/// A controller that nobody else is.
pub fn controller() -> ControllerId {
    #[expect(clippy::disallowed_methods, reason = "a test has no port to ask")]
    ControllerId(Uuid::new_v4())
}

/// The pool of all tests.
pub fn pool() -> PoolName {
    PoolName::new("contract").unwrap()
}

/// A runner's name that was not given before.
pub fn runner(controller: ControllerId) -> RunnerName {
    let random = self::controller().0.as_u64_pair().1;
    RunnerName::compose(&pool(), controller, Suffix::from_bits(random))
}

pub fn jit(text: &str) -> JitConfig {
    JitConfig::new(text.to_owned())
}

/// The events of a watch, as they came.
#[derive(Default)]
pub struct Heard {
    events: Mutex<Vec<InstanceEvent>>,
    came: Notify,
    began: Notify,
}

impl Heard {
    pub fn events(&self) -> Vec<InstanceEvent> {
        self.events.lock().unwrap().clone()
    }

    /// Waits for a runner's end and gives what was heard of it.
    pub async fn end_of(&self, runner: &RunnerName) -> (Vec<Sign>, Exit) {
        let ended = async {
            loop {
                let came = self.came.notified();
                let mut signs = Vec::new();
                for event in self.events() {
                    match event {
                        InstanceEvent::Said(of, sign) if of == *runner => signs.push(sign),
                        InstanceEvent::Ended(of, exit) if of == *runner => return (signs, exit),
                        _ => {}
                    }
                }
                came.await;
            }
        };
        let waited = timeout(PATIENCE, ended).await;
        waited.unwrap_or_else(|_| panic!("the end of {runner} was never told: {:?}", self.events()))
    }
}

/// Runs `body` while the backend is watched; a watch that breaks fails the test.
pub async fn watched<T>(backend: &dyn Backend, heard: &Heard, body: impl Future<Output = T>) -> T {
    let began = || heard.began.notify_one();
    let sink = |event| {
        heard.events.lock().unwrap().push(event);
        heard.came.notify_waiters();
    };
    tokio::select! {
        error = backend.watch(&began, &sink) => panic!("the watch broke: {error}"),
        result = async {
            timeout(PATIENCE, heard.began.notified()).await.expect("the watch never began");
            body.await
        } => result,
    }
}

pub async fn create(backend: &dyn Backend, runner: &RunnerName, spec: &InstanceSpec) -> Created {
    let pool = runner.pool();
    backend.create(CreateRequest { runner, pool: &pool, spec }).await.unwrap()
}

pub async fn record(backend: &dyn Backend, runner: &RunnerName) -> Option<InstanceRecord> {
    let listed = backend.list().await.unwrap().into_iter().find(|record| record.runner == *runner);
    let inspected = backend.inspect(runner).await.unwrap();
    assert_eq!(listed, inspected, "the list and the look-up by name agree");
    listed
}

/// Waits until an instance has ended, by asking.
pub async fn ended(backend: &dyn Backend, runner: &RunnerName) -> Exit {
    let asked = async {
        loop {
            if let Some(InstanceRecord { status: InstanceStatus::Ended(exit), .. }) =
                backend.inspect(runner).await.unwrap()
            {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{runner} never ended"))
}

fn assert_done((signs, exit): &(Vec<Sign>, Exit)) {
    assert_eq!(signs[..], [Sign::Listening, Sign::JobStarted, Sign::JobCompleted]);
    assert_eq!(exit.code, Some(7), "{exit:?}");
    assert!(!exit.out_of_memory);
    assert_eq!(exit.last_output.last().map(String::as_str), Some("done"));
}

/// The contract. `connect` makes a backend for a controller on the same engine; `spec` runs [`RUNNER`].
pub async fn check<B: Backend>(connect: impl Fn(ControllerId) -> B, spec: &InstanceSpec) {
    let backend = connect(controller());
    assert!(backend.capabilities().creates_max > 0);
    it_tells_how_much_it_has(&backend).await;
    a_runner_lives_and_ends(&backend, spec).await;
    another_controller_sees_and_touches_nothing(&backend, &connect(controller()), spec).await;
    a_waiting_instance_can_be_destroyed(&backend, spec).await;
    what_happens_unwatched_is_told_later(&connect, spec).await;
    many_at_once(&backend, spec).await;
    assert_eq!(backend.list().await.unwrap(), []);
}

/// Whose instances there are can be asked without being anyone. Others may use the same engine meanwhile.
pub async fn controllers_are_counted<B: Backend>(
    connect: impl Fn(ControllerId) -> B,
    spec: &InstanceSpec,
    counts: impl AsyncFn() -> BTreeMap<ControllerId, usize>,
) {
    let (two, one) = (connect(controller()), connect(controller()));
    let of = async || {
        let counts = counts().await;
        [&two, &one].map(|backend| counts.get(&backend.controller()).copied())
    };
    assert_eq!(of().await, [None, None]);
    let made = [&two, &two, &one].map(|backend| (backend, runner(backend.controller())));
    for (backend, runner) in &made {
        create(*backend, runner, spec).await;
    }
    assert_eq!(of().await, [Some(2), Some(1)]);
    for (backend, runner) in &made {
        backend.destroy(runner, false).await.unwrap();
    }
    assert_eq!(of().await, [None, None]);
}

/// Processors and memory, or that it tells none; never a number that is none.
async fn it_tells_how_much_it_has(backend: &dyn Backend) {
    match backend.capacity().await {
        Ok(has) => assert!(has.cpu_millis >= 1_000 && has.memory_bytes >= 1 << 26, "{has:?}"),
        Err(error) => {
            assert_eq!(error.kind, dayfly_core::ports::BackendErrorKind::NotAllowed, "{error}");
        }
    }
}

async fn a_runner_lives_and_ends(backend: &dyn Backend, spec: &InstanceSpec) {
    let runner = runner(backend.controller());
    assert_eq!(record(backend, &runner).await, None);
    assert_eq!(backend.destroy(&runner, false).await, Ok(()), "absent is success");
    assert_eq!(backend.console(&runner).await, Ok(Vec::new()));

    let heard = Heard::default();
    watched(backend, &heard, async {
        let created = create(backend, &runner, spec).await;
        assert!(created.ready);
        assert_eq!(create(backend, &runner, spec).await, created, "one that exists is returned");
        let found = record(backend, &runner).await.unwrap();
        assert_eq!((found.id, found.status), (created.id.clone(), InstanceStatus::Running));
        assert!(heard.events().iter().all(|event| matches!(event, InstanceEvent::Ready(_))));

        backend.hand_over(&runner, &created.id, jit("quick")).await.unwrap();
        let told = heard.end_of(&runner).await;
        assert_done(&told);
        let found = record(backend, &runner).await.unwrap();
        assert_eq!((found.id, found.status), (created.id.clone(), InstanceStatus::Ended(told.1)));
        assert_eq!(
            backend.console(&runner).await.unwrap().last().map(String::as_str),
            Some("done")
        );
        let again = create(backend, &runner, spec).await;
        assert_eq!(
            (again.id, again.ready),
            (created.id.clone(), false),
            "one that ended is not begun anew"
        );
        assert!(
            backend.hand_over(&runner, &created.id, jit("quick")).await.is_err(),
            "nobody is there to take it"
        );
    })
    .await;
    backend.destroy(&runner, false).await.unwrap();
    assert_eq!(record(backend, &runner).await, None);
    assert_eq!(backend.destroy(&runner, true).await, Ok(()));
}

async fn another_controller_sees_and_touches_nothing(
    backend: &dyn Backend,
    other: &dyn Backend,
    spec: &InstanceSpec,
) {
    let runner = runner(backend.controller());
    let created = create(backend, &runner, spec).await;
    assert_eq!(record(other, &runner).await, None);
    // Whether it is an error or nothing to do: it must not touch what is not its own.
    let _ = other.destroy(&runner, true).await;
    assert_eq!(
        record(backend, &runner).await.map(|record| record.status),
        Some(InstanceStatus::Running)
    );
    let pool = runner.pool();
    let taken = other.create(CreateRequest { runner: &runner, pool: &pool, spec }).await;
    assert!(taken.is_err(), "another's instance is not adopted: {taken:?}");
    assert_eq!(record(backend, &runner).await.map(|record| record.id), Some(created.id));
    backend.destroy(&runner, false).await.unwrap();
}

async fn a_waiting_instance_can_be_destroyed(backend: &dyn Backend, spec: &InstanceSpec) {
    let runner = runner(backend.controller());
    let created = create(backend, &runner, spec).await;
    backend.destroy(&runner, false).await.unwrap();
    assert_eq!(record(backend, &runner).await, None);
    assert!(backend.hand_over(&runner, &created.id, jit("quick")).await.is_err());
}

/// What a daemon learns that was away: of a runner that ended meanwhile, and of one that still runs.
async fn what_happens_unwatched_is_told_later<B: Backend>(
    connect: impl Fn(ControllerId) -> B,
    spec: &InstanceSpec,
) {
    let controller = controller();
    let backend = connect(controller);
    let (quick, slow) = (runner(controller), runner(controller));
    for (runner, registration) in [(&quick, "quick"), (&slow, "slow")] {
        let created = create(&backend, runner, spec).await;
        backend.hand_over(runner, &created.id, jit(registration)).await.unwrap();
    }
    ended(&backend, &quick).await;
    drop(backend);

    let backend = connect(controller);
    let heard = Heard::default();
    watched(&backend, &heard, async {
        assert_done(&heard.end_of(&slow).await);
        assert_done(&heard.end_of(&quick).await);
    })
    .await;
    for runner in [quick, slow] {
        backend.destroy(&runner, false).await.unwrap();
    }
    assert_eq!(backend.list().await.unwrap(), []);
}

async fn many_at_once(backend: &dyn Backend, spec: &InstanceSpec) {
    let runners: Vec<RunnerName> = (0..8).map(|_| runner(backend.controller())).collect();
    let heard = Heard::default();
    watched(backend, &heard, async {
        let made = runners.iter().map(|runner| async {
            let created = create(backend, runner, spec).await;
            backend.hand_over(runner, &created.id, jit("quick")).await.unwrap();
            assert_done(&heard.end_of(runner).await);
            backend.destroy(runner, false).await.unwrap();
        });
        futures_util::future::join_all(made).await;
    })
    .await;
}
