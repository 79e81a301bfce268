//! Ends that the engine's events do not tell, on an engine that is played here.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::{
    model::{ControllerId, RunnerName},
    ports::Backend,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::UnixListener, task::JoinSet};

use super::engine::{Sweep, contract};
use crate::suite::{Heard, controller, create, jit, runner, watched};

/// What an engine does at the end of its one container.
#[derive(Debug, Clone, Copy, Default)]
struct Manners {
    /// An event tells the end, once the container was listed.
    tells: bool,
    /// A follower of the output never hears that it ended.
    keeps_output_open: bool,
    /// Questions about the container are never answered.
    keeps_silent: bool,
}

/// An engine whose one container has ended, but which lists it as running for the first time.
struct Engine {
    manners: Manners,
    container: Value,
    runner: RunnerName,
    controller: ControllerId,
    listed: AtomicBool,
}

/// An engine that answers until it is dropped.
struct Played {
    directory: tempfile::TempDir,
    _serving: JoinSet<std::io::Result<()>>,
}

#[derive(Deserialize)]
struct ListQuery {
    filters: String,
}

#[derive(Deserialize)]
struct LogsQuery {
    #[serde(default)]
    follow: bool,
}

const ID: &str = "0badc0de";

impl Engine {
    fn start(manners: Manners, controller: ControllerId, runner: &RunnerName) -> Played {
        let labels = json!({ "dev.dayfly.controller": controller, "dev.dayfly.runner": runner });
        let container = json!({ "Id": ID, "Names": [format!("/{runner}")], "Labels": labels });
        let engine = Arc::new(Self {
            manners,
            container,
            runner: runner.clone(),
            controller,
            listed: AtomicBool::new(false),
        });
        let app = Router::new()
            .route("/version", get(async || Json(json!({ "ApiVersion": "1.41" }))))
            .route("/info", get(async || Json(json!({ "SystemTime": "2026-11-21T12:00:00Z" }))))
            .route("/containers/json", get(Self::list))
            .route(&format!("/containers/{ID}/json"), get(Self::inspect))
            .route(&format!("/containers/{ID}/logs"), get(Self::logs))
            .route("/events", get(Self::events))
            .with_state(engine);
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await });
        Played { directory, _serving: serving }
    }

    async fn list(
        State(engine): State<Arc<Self>>,
        Query(query): Query<ListQuery>,
    ) -> Json<Vec<Value>> {
        let filters: Value = serde_json::from_str(&query.filters).unwrap();
        let state = if engine.listed.swap(true, Ordering::SeqCst) { "exited" } else { "running" };
        let wanted = filters["status"].as_array();
        if wanted.is_some_and(|wanted| !wanted.contains(&json!(state))) {
            return Json(Vec::new());
        }
        let mut container = engine.container.clone();
        container["State"] = json!(state);
        Json(vec![container])
    }

    async fn inspect(State(engine): State<Arc<Self>>) -> Json<Value> {
        if engine.manners.keeps_silent {
            std::future::pending::<()>().await;
        }
        Json(json!({
            "Id": ID, "Name": format!("/{}", engine.runner),
            "Config": { "Labels": engine.container["Labels"] },
            "State": { "Status": "exited", "ExitCode": 7 },
        }))
    }

    async fn logs(State(engine): State<Arc<Self>>, Query(query): Query<LogsQuery>) -> Response {
        let open = query.follow && engine.manners.keeps_output_open;
        let line = b"2026-11-21 08:00:00Z: Listening for Jobs\n";
        let mut frame = vec![1, 0, 0, 0];
        frame.extend(u32::try_from(line.len()).unwrap().to_be_bytes());
        frame.extend(line);
        streamed(frame.into(), open)
    }

    async fn events(State(engine): State<Arc<Self>>) -> Response {
        if !engine.manners.tells {
            return streamed(Bytes::new(), true);
        }
        while !engine.listed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let attributes = json!({
            "dev.dayfly.controller": engine.controller,
            "dev.dayfly.runner": engine.runner,
            "exitCode": "7",
        });
        let event = json!({
            "Type": "container", "Action": "die",
            "Actor": { "ID": ID, "Attributes": attributes },
        });
        streamed(format!("{event}\n").into(), true)
    }
}

/// A body that ends after `first`, or never.
fn streamed(first: Bytes, open: bool) -> Response {
    let first = stream::iter([Ok::<_, Infallible>(first)]);
    let body = if open {
        Body::from_stream(first.chain(stream::pending()))
    } else {
        Body::from_stream(first)
    };
    Response::new(body)
}

/// The end is told, whatever the engine keeps to itself.
async fn check(manners: Manners) {
    let controller = controller();
    let runner = runner(controller);
    let engine = Engine::start(manners, controller, &runner);
    let options = DockerOptions {
        host: Some(format!("unix://{}/docker.sock", engine.directory.path().display())),
        ..DockerOptions::default()
    };
    let docker = Docker::connect(&options, controller).unwrap();
    let heard = Heard::default();
    let (signs, exit) = watched(&docker, &heard, heard.end_of(&runner)).await;
    assert_eq!((signs.len(), exit.code), (1, Some(7)), "{manners:?}");
}

#[tokio::test]
async fn an_end_between_the_event_and_the_list_is_told() {
    check(Manners::default()).await;
    check(Manners { keeps_output_open: true, ..Manners::default() }).await;
}

#[tokio::test]
async fn an_answer_that_never_comes_does_not_hold_the_end_back() {
    check(Manners { tells: true, keeps_silent: true, keeps_output_open: true }).await;
}

/// A watch that begins at any moment of a container's end tells it.
#[tokio::test]
#[ignore = "needs dockerd"]
async fn a_watch_that_begins_while_a_container_ends_tells_the_end() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let spec = contract();
    for after in (0..240).step_by(20) {
        let runner = runner(docker.controller());
        let created = create(&docker, &runner, &spec).await;
        docker.hand_over(&runner, &created.id, jit("quick")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        let heard = Heard::default();
        watched(&docker, &heard, heard.end_of(&runner)).await;
        docker.destroy(&runner, false).await.unwrap();
    }
}
