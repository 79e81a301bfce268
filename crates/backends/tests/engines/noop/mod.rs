//! Instances that are none, over a real socket.

use std::{path::PathBuf, sync::Arc, time::Duration};

use dayfly_backends::noop::{EventSender, Host, Noop, Player};
use dayfly_core::{
    model::{ControllerId, Exit, InstanceSpec, RunnerName, Sign},
    ports::{Backend, BackendErrorKind, InstanceEvent, JitConfig},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, time::sleep};
use tokio_util::task::TaskTracker;

use crate::suite::{self, Heard, controller, create, jit, runner, watched};

/// Plays what the suite's script does.
#[derive(Default)]
struct Script {
    tasks: TaskTracker,
}

impl Player for Script {
    fn hand_over(&self, _runner: RunnerName, jit: JitConfig, say: EventSender) {
        self.tasks.spawn(async move {
            say.said(Sign::Listening);
            if jit.expose() == "slow" {
                sleep(Duration::from_secs(2)).await;
            }
            say.said(Sign::JobStarted);
            say.said(Sign::JobStarted);
            say.said(Sign::JobCompleted);
            say.ended(Exit {
                code: Some(7),
                last_output: vec!["done".to_owned()],
                ..Exit::default()
            });
        });
    }

    fn destroyed(&self, _runner: &RunnerName) {}
}

struct Ground {
    home: TempDir,
    host: Arc<Host>,
    tasks: TaskTracker,
}

impl Ground {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, host: Host::new(Arc::new(Script::default())), tasks: TaskTracker::new() }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("noop.sock")
    }

    fn serve(&self) -> tokio::task::JoinHandle<()> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let host = Arc::clone(&self.host);
        self.tasks.spawn(async move {
            host.serve(listener).await;
        })
    }

    fn connect(&self, controller: ControllerId) -> Noop {
        Noop::connect(self.socket(), controller)
    }
}

#[tokio::test]
async fn noop_keeps_the_contract() {
    let ground = Ground::new();
    ground.serve();
    suite::check(|controller| ground.connect(controller), &InstanceSpec::default()).await;
    assert_eq!(ground.host.live(), 0);
}

#[tokio::test]
async fn whose_instances_there_are_can_be_asked() {
    let ground = Ground::new();
    ground.serve();
    let anyone = ground.connect(controller());
    let counts = async || anyone.controllers().await.unwrap();
    let connect = |controller| ground.connect(controller);
    suite::controllers_are_counted(connect, &InstanceSpec::default(), counts).await;
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable_and_its_return_is_noticed() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    assert_eq!(backend.list().await.unwrap_err().kind, BackendErrorKind::Unreachable);
    ground.serve();
    assert_eq!(backend.list().await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_thousand_creates_at_once_are_carried_and_timed() {
    let ground = Ground::new();
    ground.serve();
    let backend = ground.connect(controller());
    let spec = InstanceSpec::default();
    let runners: Vec<RunnerName> = (0..1_000).map(|_| runner(backend.controller())).collect();
    let heard = Heard::default();
    watched(&backend, &heard, async {
        let lives = runners.iter().map(|runner| async {
            let created = create(&backend, runner, &spec).await;
            backend.hand_over(runner, &created.id, jit("quick")).await.unwrap();
        });
        futures_util::future::join_all(lives).await;
        for runner in &runners {
            heard.end_of(runner).await;
        }
    })
    .await;
    let creates = ground.host.creates();
    assert_eq!(creates.len(), 1_000);
    assert!(creates.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    let ends =
        heard.events().iter().filter(|event| matches!(event, InstanceEvent::Ended(..))).count();
    assert_eq!(ends, 1_000, "each end is told once");
}
