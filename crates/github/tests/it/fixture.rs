//! A simulated GitHub over HTTP, its control API, and clients of it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use dayfly_core::{
    model::{RunnerGroupId, RunnerName, ScaleSetId},
    ports::{Clock, Forge, Session, Transport},
};
use dayfly_github::{Address, Credential, GitHub, HttpTransport};
use dayfly_github_sim::{Server, SimConfig};
use dayfly_runner_stub::{Broker, JitConfig, Message};
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

/// The wall clock, and wrong by as much as a test says.
#[derive(Default)]
pub struct TestClock {
    pub wrong_s: AtomicI64,
}

impl Clock for TestClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests' own implementation of the Clock port"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.wrong_s.load(Ordering::Relaxed))
    }
}

pub struct Fixture {
    server: Server,
    pub transport: Arc<HttpTransport>,
    pub clock: Arc<TestClock>,
}

/// The default group, which every scope has.
pub const DEFAULT: RunnerGroupId = RunnerGroupId(1);

/// The credential of an App that was made.
fn signs_in(created: &Value, installation_id: Option<u64>) -> Credential {
    Credential::App {
        client_id: created["client_id"].as_str().unwrap().to_owned(),
        private_key: created["private_key"].as_str().unwrap().to_owned().into(),
        installation_id,
    }
}

impl Fixture {
    pub async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = dayfly_github_sim::serve(listener, SimConfig::default()).unwrap();
        let transport = Arc::new(HttpTransport::new(None).unwrap());
        Self { server, transport, clock: Arc::default() }
    }

    /// A GitHub with the scope, and a token that may do everything there.
    pub async fn with_token(scope: &str) -> (Self, GitHub) {
        let fixture = Self::new().await;
        fixture.control("scopes", &json!({ "path": scope })).await;
        let token = fixture.token(&json!({ "type": "pat" })).await;
        let github = fixture.github(scope, &token);
        (fixture, github)
    }

    pub async fn token(&self, spec: &Value) -> Credential {
        let created = self.control("credentials", spec).await;
        Credential::Token(created["token"].as_str().unwrap().to_owned().into())
    }

    /// An App, installed on `owner`.
    pub async fn app(&self, owner: &str, with_installation: bool) -> Credential {
        let created =
            self.control("credentials", &json!({ "type": "app", "installations": [owner] })).await;
        let installation =
            with_installation.then(|| created["installations"][owner].as_u64().unwrap());
        signs_in(&created, installation)
    }

    /// An App as told, which looks its installation up.
    pub async fn app_of(&self, spec: &Value) -> Credential {
        signs_in(&self.control("credentials", spec).await, None)
    }

    pub fn github(&self, scope: &str, credential: &Credential) -> GitHub {
        let address = Address::parse(&format!("{}/{scope}", self.server.url())).unwrap();
        GitHub::new(address, credential, self.transport.clone(), self.clock.clone(), "test-host")
            .unwrap()
    }

    pub async fn control(&self, path: &str, body: &Value) -> Value {
        self.ask(Method::POST, path, body).await
    }

    pub async fn look(&self, path: &str) -> Value {
        self.ask(Method::GET, path, &Value::Null).await
    }

    pub async fn fault(&self, route: &str, count: u64, action: Value) {
        self.control("faults", &json!({ "route": route, "count": count, "action": action })).await;
    }

    pub async fn clear_faults(&self) {
        self.ask(Method::DELETE, "faults", &Value::Null).await;
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/control/{path}", self.server.url()))
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = self.transport.send(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// Makes something by the REST, as a user would.
    pub async fn make(&self, path: &str, body: &Value) {
        let created = self.control("credentials", &json!({ "type": "pat" })).await;
        let request = Request::post(format!("{}/api/v3/{path}", self.server.url()))
            .header("user-agent", "a user")
            .header("authorization", format!("Bearer {}", created["token"].as_str().unwrap()))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = self.transport.send(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
    }

    /// How often a route was called.
    pub async fn calls(&self, route: &str) -> usize {
        let journal = self.look("journal").await;
        journal.as_array().unwrap().iter().filter(|entry| entry["route"] == route).count()
    }

    pub async fn queue_jobs(&self, scope: &str, count: usize) {
        let spec = json!({ "scope": scope, "labels": ["linux"], "count": count });
        self.control("jobs", &spec).await;
    }
}

/// A scale set with the label `linux` and a session on it.
pub async fn opened(github: &GitHub) -> (ScaleSetId, Session) {
    let labels = ["self-hosted".to_owned(), "linux".to_owned()];
    let set = github.create_scale_set(DEFAULT, "linux-small", &labels).await.unwrap();
    let session = github.open_session(set.id).await.unwrap();
    (set.id, session)
}

pub fn runner(number: u64) -> RunnerName {
    let suffix: String = (0..10)
        .map(|i| char::from(b'a' + u8::try_from((number >> (4 * i)) & 15).unwrap()))
        .collect();
    RunnerName::new(format!("linux-small-aaaa{suffix}")).unwrap()
}

/// Connects a runner with its configuration and takes a job, which it then holds.
pub async fn take_job(jit: &str) -> (Broker, Uuid) {
    let mut broker = connect(jit).await;
    loop {
        if let Some(Message::Job { id }) = broker.message(false).await.unwrap() {
            broker.acquire(id).await.unwrap();
            broker.acknowledge(id).await.unwrap();
            return (broker, id);
        }
    }
}

/// Connects a runner with its configuration.
pub async fn connect(jit: &str) -> Broker {
    let mut broker = Broker::new(Arc::new(JitConfig::decode(jit).unwrap())).unwrap();
    broker.authenticate().await.unwrap();
    broker.open_session().await.unwrap();
    broker
}
