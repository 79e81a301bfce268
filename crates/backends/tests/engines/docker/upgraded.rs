//! An engine that comes back in another version under a running daemon. It is played here.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::ports::{Backend, BackendErrorKind};
use serde_json::{Value, json};
use tokio::{net::UnixListener, task::JoinSet};

use super::engine::contract;
use crate::suite::controller;

/// The version of the API that the engine tells; none while it does not tell it.
type Version = Arc<Mutex<Option<&'static str>>>;

async fn tell(State(version): State<Version>) -> Result<Json<Value>, StatusCode> {
    let version = version.lock().unwrap().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({ "ApiVersion": version })))
}

#[tokio::test]
async fn its_version_is_asked_for_at_the_beginning_of_each_watch() {
    let version = Version::default();
    let app = Router::new()
        .route("/version", get(tell))
        .route("/info", get(async || Json(json!({ "SystemTime": "2026-11-21T12:00:00Z" }))))
        .route("/containers/json", get(async || Json(json!([]))))
        // A stream that ends at once: each watch breaks as by a restart.
        .route("/events", get(async || ""))
        .with_state(Arc::clone(&version));
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await });
    let host = Some(format!("unix://{}", socket.display()));
    let options = DockerOptions { host, ..DockerOptions::default() };
    let docker = Docker::connect(&options, controller()).unwrap();
    let come_back = async |told: Option<&'static str>, expected: BackendErrorKind| {
        *version.lock().unwrap() = told;
        let broke = docker.watch(&|| {}, &|_| {}).await;
        assert_eq!(broke.kind, expected, "{told:?}: {broke}");
    };

    for (told, words) in [("1.41", "API 1.41"), ("1.44", "API 1.44"), ("1.40", "API 1.40")] {
        come_back(Some(told), BackendErrorKind::Unreachable).await;
        let findings = docker.check(&contract()).await;
        assert!(findings[0].result.as_ref().unwrap().ends_with(words), "{findings:?}");
    }
    come_back(None, BackendErrorKind::Transient).await;
    assert_eq!(docker.list().await, Ok(Vec::new()), "what was known goes on being used");
}
