//! A daemon for the tests: an engine with one pool and one stored runner, a store in memory, a socket in a directory
//! of its own.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dayfly_core::{
    model::{
        ControllerId, Deadlines, DemandSource, Event, Instance, InstanceId, InstanceSpec, Limits,
        Place, Placement, PoolSpec, Runner, RunnerName, ScaleSetSpec, ScopeKind, ScopeSpec, Spec,
        Suffix,
    },
    ports::{Batch, EventSink, Ids, Store, StoreError, StoreErrorKind, Stored},
};
use dayfly_engine::{Engine, Handle, Ports, SteadyClock, StoreDriver};
use dayfly_server::{Socket, serve};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long anything may take here before it counts as stuck.
pub const STUCK: Duration = Duration::from_secs(30);

struct Memory {
    stored: Stored,
    full: Arc<AtomicBool>,
}

impl Store for Memory {
    fn load(&mut self) -> Result<Stored, StoreError> {
        Ok(self.stored.clone())
    }

    fn commit(&mut self, _batch: &Batch) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            let (operation, detail) =
                ("commit to dayfly.db".to_owned(), "the disk is full".to_owned());
            return Err(StoreError { kind: StoreErrorKind::Full, operation, detail });
        }
        Ok(())
    }
}

struct Counted(u64);

impl Ids for Counted {
    fn suffix(&mut self) -> Suffix {
        self.0 += 1;
        Suffix::from_bits(self.0)
    }
}

struct Nowhere;

impl EventSink for Nowhere {
    fn emit(&self, _event: &Event) {}
}

/// A daemon with its API.
pub struct Daemon {
    pub directory: TempDir,
    pub path: PathBuf,
    pub handle: Handle,
    pub runner: RunnerName,
    pub full: Arc<AtomicBool>,
    engine: Engine,
    ending: CancellationToken,
    server: JoinHandle<()>,
}

fn pool() -> PoolSpec {
    let instance = InstanceSpec { image: "runner".into(), ..InstanceSpec::default() };
    PoolSpec {
        name: "linux".to_owned().try_into().unwrap(),
        scope: "acme".to_owned().try_into().unwrap(),
        labels: vec!["x64".into()],
        group: "Default".into(),
        demand: DemandSource::ScaleSet(ScaleSetSpec { name: "linux".into(), adopt: false }),
        places: vec![Place {
            backend: "here".to_owned().try_into().unwrap(),
            mark: instance.mark().into(),
            instance: Arc::new(instance),
        }],
        placement: Placement::InOrder,
        priority: 0,
        limits: Limits { warm: 1, min_idle: 0, max: 10 },
        schedules: Vec::new(),
        deadlines: Deadlines::default(),
    }
}

impl Daemon {
    pub fn start() -> Self {
        let controller = ControllerId(uuid::Uuid::from_u128(7));
        let clock = SteadyClock::start();
        let now = dayfly_core::ports::Clock::now(&clock);
        let pool = pool();
        let runner = RunnerName::compose(&pool.name, controller, Suffix::from_bits(99));
        let Place { backend, mark, .. } = pool.places[0].clone();
        let mut row = Runner::planned(runner.clone(), backend, mark, now);
        row.instance = Instance::Ready { since: now, id: InstanceId("an-id".into()) };
        row.generation = 1;
        let scope = ScopeSpec {
            url: "https://github.com/acme".into(),
            kind: ScopeKind::Organization("acme".into()),
            repositories: Vec::new(),
        };
        let spec = Spec {
            scopes: BTreeMap::from([(pool.scope.clone(), scope)]),
            pools: BTreeMap::from([(pool.name.clone(), pool)]),
            ..Spec::default()
        };
        let stored = Stored {
            controller,
            clock: None,
            runners: vec![row],
            pools: Vec::new(),
            jobs: Vec::new(),
            workflow_jobs: Vec::new(),
            scopes: Vec::new(),
            troubles: Vec::new(),
        };
        let full = Arc::new(AtomicBool::new(false));
        let ports = Ports {
            forges: BTreeMap::new(),
            backends: BTreeMap::new(),
            store: Box::new(Memory { stored: stored.clone(), full: full.clone() }),
            store_driver: StoreDriver::Inline,
            clock: Arc::new(clock),
            ids: Box::new(Counted(0)),
            events: Arc::new(Nowhere),
        };
        let engine = dayfly_engine::start(Arc::new(spec), stored, ports);
        let handle = engine.handle();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run").join("dayfly.sock");
        let socket = Socket::open(&path).unwrap();
        assert_eq!(socket.path(), path);
        let ending = CancellationToken::new();
        let server = TaskTracker::new().spawn(serve(socket, handle.clone(), ending.clone()));
        Self { directory, path, handle, runner, full, engine, ending, server }
    }

    /// Ends the engine alone: the API still answers.
    pub async fn end_engine(&self) {
        self.handle.end_now();
        timeout(STUCK, async { while self.handle.read(|_| ()).await.is_ok() {} }).await.unwrap();
    }

    /// Ends all; gives the directory back, for a look at what is left.
    pub async fn end(self) -> (TempDir, PathBuf) {
        self.ending.cancel();
        timeout(STUCK, self.server).await.unwrap().unwrap();
        self.handle.end_now();
        timeout(STUCK, self.engine.ended()).await.unwrap().unwrap();
        (self.directory, self.path)
    }

    /// Sends bytes and reads what comes back until the connection is closed.
    pub async fn raw(&self, request: &[u8]) -> String {
        let exchange = async {
            let mut stream = UnixStream::connect(&self.path).await.unwrap();
            // A server that has heard enough closes its end: what it said counts.
            let _ = stream.write_all(request).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        };
        timeout(STUCK, exchange).await.expect("no answer")
    }

    /// One request; the status and the body.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let body = body.map_or_else(String::new, |body| {
            format!(
                "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        });
        let end = if body.is_empty() { "\r\n" } else { "" };
        let answer = self
            .raw(format!("{method} {path} HTTP/1.1\r\nhost: dayfly\r\n{body}{end}").as_bytes())
            .await;
        let (head, body) =
            answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// One document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }
}
