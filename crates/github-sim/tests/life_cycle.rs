//! A job's whole life over HTTP, driven by a client that nobody here wrote, in both assignment modes, with real stand-in runners.

#![expect(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use std::sync::Arc;
use std::time::Duration;

use dayfly_github_sim::{Server, SimConfig, serve};
use dayfly_runner_stub::{Exit, JitConfig};
use scaleset::listener::{Event, Listener, Scaler};
use scaleset::{
    Client, Credentials, ExposeSecret, JitRunnerSetting, MessageSession, RunnerScaleSetSpec,
    ScaleSetMessage,
};
use serde_json::{Value, json};

/// Far above what any step here needs: only a hang is caught.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    server: Server,
    http: reqwest::Client,
    token: String,
}

impl World {
    async fn new(scope: &str, assignment: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = serve(listener, SimConfig::default()).unwrap();
        let http = reqwest::Client::builder().build().unwrap();
        let mut world = Self { server, http, token: String::new() };
        world.control("scopes", json!({ "path": scope, "assignment": assignment })).await;
        let made = world.control("credentials", json!({ "type": "pat" })).await;
        world.token = made["token"].as_str().unwrap().to_owned();
        world
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/control/{path}", self.server.url());
        let answer = self.http.post(url).body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn look(&self, path: &str) -> Value {
        let url = format!("{}/control/{path}", self.server.url());
        serde_json::from_str(&self.http.get(url).send().await.unwrap().text().await.unwrap())
            .unwrap()
    }

    fn client(&self, scope: &str) -> Client {
        let credentials = Credentials::personal_access_token(self.token.clone()).unwrap();
        Client::builder(format!("{}/{scope}", self.server.url()), credentials)
            .allow_http(true)
            .build()
            .unwrap()
    }

    async fn queue(&self, scope: &str, steps: &[&str], count: usize) -> Vec<i64> {
        let queued = self.control("jobs", json!({ "scope": scope, "labels": ["linux", "SMALL"], "steps": steps, "count": count })).await;
        serde_json::from_value(queued["job_ids"].clone()).unwrap()
    }

    async fn job(&self, id: i64) -> Value {
        self.look(&format!("jobs/{id}")).await
    }
}

/// Runs a stand-in runner as its program would, in its own thread and directory.
fn run_stub(blob: String) -> std::thread::JoinHandle<(Exit, tempfile::TempDir)> {
    std::thread::spawn(move || {
        let root = tempfile::tempdir().unwrap();
        let exit =
            dayfly_runner_stub::listen(JitConfig::decode(&blob).unwrap(), root.path()).unwrap();
        (exit, root)
    })
}

async fn join<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || thread.join().unwrap()))
        .await
        .unwrap()
        .unwrap()
}

async fn next_message(
    session: &MessageSession,
    cursor: &mut Option<scaleset::MessageId>,
) -> ScaleSetMessage {
    let message = tokio::time::timeout(PATIENCE, session.get_message(*cursor, 5))
        .await
        .unwrap()
        .unwrap()
        .expect("a message");
    *cursor = Some(message.id);
    session.delete_message(message.id).await.unwrap();
    message
}

async fn whole_life(scope: &str, assignment: &str) {
    let world = World::new(scope, assignment).await;
    let client = world.client(scope);
    serve_one(world, client, scope, assignment).await;
}

async fn serve_one(world: World, client: Client, scope: &str, assignment: &str) {
    let group =
        client.get_runner_group_by_name("Default").await.unwrap().expect("the default group");
    let spec = RunnerScaleSetSpec::new("pool").runner_group_id(group.id).labels(["linux", "small"]);
    let set = client.create_runner_scale_set(&spec).await.unwrap();
    let session = client.create_message_session(set.id, "here").await.unwrap();
    assert_eq!(session.info().statistics.unwrap().total_assigned_jobs, 0);

    let mut cursor = None;
    let jobs = world
        .queue(scope, &["echo \"$RUNNER_NAME in $GITHUB_WORKSPACE\"", "test -n \"$GITHUB_JOB\""], 1)
        .await;
    if assignment == "acquire" {
        let message = next_message(&session, &mut cursor).await;
        let offered: Vec<_> =
            message.jobs_available().map(|job| job.job.runner_request_id).collect();
        assert_eq!(offered.len(), 1);
        assert_eq!(session.acquire_jobs(&offered).await.unwrap(), offered);
    }
    let message = next_message(&session, &mut cursor).await;
    assert_eq!(message.jobs_assigned().count(), 1);
    assert_eq!(message.statistics.unwrap().total_assigned_jobs, 1);

    let jit = client.generate_jit_config(set.id, &JitRunnerSetting::new("runner-1")).await.unwrap();
    let blob = jit.encoded_jit_config.expose_secret().to_owned();
    let stub = run_stub(blob.clone());
    let mut seen = (0, None);
    while seen.1.is_none() {
        let message = next_message(&session, &mut cursor).await;
        seen.0 += message.jobs_started().count();
        seen.1 = message.jobs_completed().next().cloned();
    }
    let completed = seen.1.unwrap();
    assert_eq!(
        (seen.0, completed.result.as_str(), completed.runner_name.as_str()),
        (1, "succeeded", "runner-1")
    );
    let (exit, root) = join(stub).await;
    assert_eq!(exit, Exit::Success);
    assert!(!root.path().join(".credentials").exists(), "the configuration outlives the runner");

    let job = world.job(jobs[0]).await;
    assert_eq!(job["conclusion"], "success");
    assert!(job["log"].as_str().unwrap().contains("runner-1 in "), "{job}");
    let at = |name: &str| job[name].as_f64().unwrap_or_else(|| panic!("{name} in {job}"));
    assert!(at("queued_at") <= at("told_at") && at("told_at") <= at("started_at"), "{job}");
    assert!(
        at("started_at") <= at("completed_at") && at("first_step_at") <= at("completed_at"),
        "{job}"
    );

    // A configuration works once: its registration went with the job.
    let (exit, _) = join(run_stub(blob)).await;
    assert_eq!(exit, Exit::Terminated);
    assert!(client.get_runner_by_name("runner-1").await.unwrap().is_none());
    session.close().await.unwrap();
    client.delete_runner_scale_set(set.id).await.unwrap();
    let summary = world.look("summary").await;
    assert_eq!(
        (&summary["sessions"], &summary["sets"], &summary["runners"]["total"]),
        (&json!(0), &json!(0), &json!(0))
    );
    world.server.stop().await;
}

#[tokio::test]
async fn a_job_of_an_organisation_given_by_github() {
    whole_life("acme", "auto").await;
}

#[tokio::test]
async fn a_job_of_a_repository_given_by_github() {
    whole_life("acme/app", "auto").await;
}

#[tokio::test]
async fn a_job_served_by_a_github_app() {
    let world = World::new("acme", "auto").await;
    let app =
        world.control("credentials", json!({ "type": "app", "installations": ["acme"] })).await;
    let (id, key) = (app["client_id"].as_str().unwrap(), app["private_key"].as_str().unwrap());
    let credentials =
        Credentials::github_app(id, app["installations"]["acme"].as_i64().unwrap(), key).unwrap();
    let url = format!("{}/acme", world.server.url());
    let client = Client::builder(url, credentials).allow_http(true).build().unwrap();
    serve_one(world, client, "acme", "auto").await;
}

#[tokio::test]
async fn a_job_that_has_to_be_acquired() {
    whole_life("acme", "acquire").await;
}

/// The client's own listener with runners in threads.
struct Fleet {
    client: Client,
    set: scaleset::ScaleSetId,
    started: usize,
    runners: Vec<std::thread::JoinHandle<(Exit, tempfile::TempDir)>>,
    done: Arc<tokio::sync::Notify>,
    completed: usize,
    wanted: usize,
}

impl Scaler for Fleet {
    type Error = scaleset::BoxError;

    async fn scale(&mut self, event: Event<'_>) -> Result<(), Self::Error> {
        self.completed += event.message().map_or(0, |message| message.jobs_completed().count());
        while self.started < self.completed + event.statistics().total_assigned_jobs as usize {
            let jit = self
                .client
                .generate_jit_config(
                    self.set,
                    &JitRunnerSetting::new(format!("fleet-{}", self.started)),
                )
                .await?;
            self.runners.push(run_stub(jit.encoded_jit_config.expose_secret().to_owned()));
            self.started += 1;
        }
        if self.completed >= self.wanted {
            self.done.notify_one();
        }
        Ok(())
    }
}

async fn listener_serves(assignment: &str) {
    let world = World::new("acme", assignment).await;
    let client = world.client("acme");
    let set = client
        .create_runner_scale_set(&RunnerScaleSetSpec::new("pool").labels(["linux", "small"]))
        .await
        .unwrap();
    let jobs = world.queue("acme", &["true"], 7).await;
    let done = Arc::new(tokio::sync::Notify::new());
    let mut fleet = Fleet {
        client: client.clone(),
        set: set.id,
        started: 0,
        runners: vec![],
        done: done.clone(),
        completed: 0,
        wanted: 7,
    };
    let listener = Listener::new(client, set.id, 3);
    tokio::time::timeout(PATIENCE, listener.run(&mut fleet, async move { done.notified().await }))
        .await
        .unwrap()
        .unwrap();
    for runner in fleet.runners {
        assert_eq!(join(runner).await.0, Exit::Success);
    }
    for id in jobs {
        assert_eq!(world.job(id).await["conclusion"], "success");
    }
    assert_eq!(world.look("summary").await["sessions"], 0);
    world.server.stop().await;
}

#[tokio::test]
async fn the_clients_own_listener_serves_given_jobs() {
    listener_serves("auto").await;
}

#[tokio::test]
async fn the_clients_own_listener_serves_acquired_jobs() {
    listener_serves("acquire").await;
}
