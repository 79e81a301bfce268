//! Fetching images from a registry that asks for a password. The registry is a small one of the tests' own.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::{
    model::{InstanceSpec, PullPolicy},
    ports::{Backend, BackendErrorKind, CreateRequest},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::task::TaskTracker;

use super::engine::{Sweep, cli, contract, root_file_system};
use crate::suite::{controller, create, pool, runner};

/// With characters that the two alphabets of base64 spell differently.
const PASSWORD: &str = "pass>>>???~~~word";

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// One image, and how often it was asked for.
struct Registry {
    manifest: Bytes,
    config: Bytes,
    layer: Bytes,
    layers_sent: AtomicU32,
    /// How long the layer is held back.
    delay: Duration,
}

impl Registry {
    async fn start(delay: Duration, tasks: &TaskTracker) -> (Arc<Self>, SocketAddr) {
        let layer = {
            let mut tar = root_file_system().to_vec();
            // Unlike any other image's, so that the engine has to fetch it.
            let mark = controller().to_string();
            let mut header = [0_u8; 512];
            header[..mark.len()].copy_from_slice(mark.as_bytes());
            header[100..107].copy_from_slice(b"0000644");
            header[108..115].copy_from_slice(b"0000000");
            header[116..123].copy_from_slice(b"0000000");
            header[124..135].copy_from_slice(b"00000000000");
            header[136..147].copy_from_slice(b"00000000000");
            header[148..156].copy_from_slice(b"        ");
            header[156] = b'0';
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let mut whole = header.to_vec();
            whole.append(&mut tar);
            Bytes::from(whole)
        };
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": { "WorkingDir": "/home/runner", "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(), "digest": digest(&config),
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": layer.len(), "digest": digest(&layer),
            }],
        });
        let manifest = Bytes::from(manifest.to_string());
        let registry =
            Arc::new(Self { manifest, config, layer, layers_sent: AtomicU32::new(0), delay });
        let routes = Router::new()
            .route(
                "/v2/",
                get(async |headers: HeaderMap| {
                    answer(&headers, "application/json", Bytes::from("{}"))
                }),
            )
            .route("/v2/{name}/manifests/{reference}", get(Self::send_manifest))
            .route("/v2/{name}/blobs/{digest}", get(Self::send_blob))
            .with_state(Arc::clone(&registry));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn(async move { axum::serve(listener, routes).await });
        (registry, address)
    }

    async fn send_manifest(
        State(own): State<Arc<Self>>,
        headers: HeaderMap,
        Path(_): Path<(String, String)>,
    ) -> Response {
        answer(&headers, MANIFEST, own.manifest.clone())
    }

    async fn send_blob(
        State(own): State<Arc<Self>>,
        headers: HeaderMap,
        Path((_, wanted)): Path<(String, String)>,
    ) -> Response {
        let blob = [&own.config, &own.layer].into_iter().find(|blob| digest(blob) == wanted);
        let Some(blob) = blob else { return StatusCode::NOT_FOUND.into_response() };
        if wanted == digest(&own.layer) {
            own.layers_sent.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(own.delay).await;
        }
        answer(&headers, "application/octet-stream", blob.clone())
    }
}

fn answer(headers: &HeaderMap, kind: &str, body: Bytes) -> Response {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if given != format!("Basic {}", BASE64_STANDARD.encode(format!("me:{PASSWORD}"))) {
        let refusal = [(header::WWW_AUTHENTICATE, "Basic realm=\"tests\"")];
        let errors =
            json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
        return (StatusCode::UNAUTHORIZED, refusal, errors.to_string()).into_response();
    }
    let digest = digest(&body);
    let named = [(header::CONTENT_TYPE.as_str(), kind), ("docker-content-digest", &digest)];
    (named, Body::from(body)).into_response()
}

/// A configuration directory as `docker login` leaves it.
fn login(address: SocketAddr, password: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let auth = BASE64_STANDARD.encode(format!("me:{password}"));
    let config = json!({ "auths": { address.to_string(): { "auth": auth } } });
    fs::File::create(home.path().join("config.json"))
        .unwrap()
        .write_all(config.to_string().as_bytes())
        .unwrap();
    home
}

fn connect(sweep: &Sweep, home: &TempDir) -> Docker {
    // Registered for the sweep, and made again with its own configuration directory.
    let controller = controller();
    sweep.connect(controller);
    let config_directory = Some(home.path().to_owned());
    Docker::connect(&DockerOptions { config_directory, ..DockerOptions::default() }, controller)
        .unwrap()
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn an_image_is_fetched_with_a_password_and_once_for_all() {
    let tasks = TaskTracker::new();
    let sweep = Sweep::default();
    let (registry, address) = Registry::start(Duration::from_millis(300), &tasks).await;
    let image = format!("{address}/runner:1");
    let spec = InstanceSpec { image: image.clone(), pull: PullPolicy::Missing, ..contract() };
    let make = async |docker: &Docker| {
        let (runner, pool) = (runner(docker.controller()), pool());
        docker
            .create(CreateRequest { runner: &runner, pool: &pool, spec: &spec })
            .await
            .map(|_| runner)
    };

    let stranger = connect(&sweep, &login(address, "wrong"));
    let refused = make(&stranger).await.unwrap_err();
    assert_eq!(refused.kind, BackendErrorKind::ImageMissing, "{refused}");
    assert!(!refused.to_string().contains("wrong") && !format!("{refused:?}").contains(PASSWORD));
    assert!(stranger.check(&spec).await.iter().any(|finding| finding.result.is_err()));

    let home = login(address, PASSWORD);
    let docker = connect(&sweep, &home);
    let findings = docker.check(&spec).await;
    assert!(findings.iter().all(|finding| finding.result.is_ok()), "{findings:?}");
    assert_eq!(registry.layers_sent.load(Ordering::SeqCst), 0, "a check fetches nothing");
    // An asker that gives up does not end the fetch.
    assert!(timeout(Duration::from_millis(50), make(&docker)).await.is_err());
    let made = futures_util::future::join_all((0..4).map(|_| make(&docker))).await;
    assert_eq!(registry.layers_sent.load(Ordering::SeqCst), 1, "fetched once");
    for runner in made {
        docker.destroy(&runner.unwrap(), false).await.unwrap();
    }
    let always = InstanceSpec { pull: PullPolicy::Always, ..spec.clone() };
    let runner = runner(docker.controller());
    create(&docker, &runner, &always).await;
    docker.destroy(&runner, false).await.unwrap();
    cli(&["rmi", &image]);
}
