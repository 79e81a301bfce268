//! Commands are taken, committed, and seen.

use std::{sync::atomic::Ordering, time::Duration};

use dayfly_core::report::{PoolStatus, RunnerView};
use dayfly_server::{Accepted, ErrorBody, StatusDocument};
use tokio::time::{sleep, timeout};

use crate::daemon::{Daemon, STUCK};

async fn taken(daemon: &Daemon, method: &str, path: &str, body: Option<&str>) -> String {
    let (status, body) = daemon.ask(method, path, body).await;
    assert_eq!(status, 202, "{path}: {body}");
    serde_json::from_str::<Accepted>(&body).unwrap().message
}

async fn state(daemon: &Daemon) -> String {
    daemon.get::<PoolStatus>("/v1/pools/linux").await.state
}

#[tokio::test]
async fn a_pool_is_drained_and_undrained() {
    let daemon = Daemon::start();
    let message = taken(&daemon, "POST", "/v1/pools/linux/drain", None).await;
    assert!(message.contains("linux"), "{message}");
    assert_eq!(state(&daemon).await, "drained");
    taken(&daemon, "POST", "/v1/pools/linux/undrain", None).await;
    assert_eq!(state(&daemon).await, "open");
    daemon.end().await;
}

#[tokio::test]
async fn a_pool_is_deleted() {
    let daemon = Daemon::start();
    taken(&daemon, "DELETE", "/v1/pools/linux", None).await;
    // Its runner can't be removed without its backend: the deletion goes on, and says so.
    assert_eq!(state(&daemon).await, "deleting");
    daemon.end().await;
}

#[tokio::test]
async fn a_runner_is_removed() {
    let daemon = Daemon::start();
    let path = format!("/v1/runners/{}/remove", daemon.runner);
    taken(&daemon, "POST", &path, Some("{}")).await;
    let runners: Vec<RunnerView> = daemon.get("/v1/runners").await;
    let removed = runners.iter().find(|runner| runner.name == daemon.runner.as_str()).unwrap();
    assert_eq!(removed.reason.as_deref(), Some("a user removed it"));
    // Its backend is not in the configuration: the stronger word gives it up.
    taken(&daemon, "POST", &path, Some(r#"{"even_busy": true}"#)).await;
    let runners: Vec<RunnerView> = daemon.get("/v1/runners").await;
    assert!(runners.iter().all(|runner| runner.name != daemon.runner.as_str()));
    daemon.end().await;
}

#[tokio::test]
async fn a_pool_is_flushed() {
    let daemon = Daemon::start();
    let path = "/v1/pools/linux/flush";
    let message = taken(&daemon, "POST", path, Some("{}")).await;
    assert!(message.contains("its busy ones finish"), "{message}");
    let runners: Vec<RunnerView> = daemon.get("/v1/runners").await;
    let flushed = runners.iter().find(|runner| runner.name == daemon.runner.as_str()).unwrap();
    assert_eq!(flushed.reason.as_deref(), Some("a user had the pool's runners replaced"));
    let message = taken(&daemon, "POST", path, Some(r#"{"even_busy": true}"#)).await;
    assert!(message.contains("whatever it does"), "{message}");
    let (status, body) = daemon.ask("POST", "/v1/pools/other/flush", Some("{}")).await;
    assert_eq!(status, 404, "{body}");
    let (status, body) = daemon.ask("POST", path, Some(r#"{"busy": true}"#)).await;
    assert!((400..500).contains(&status), "{status}: {body}");
    daemon.end().await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_passes() {
    let daemon = Daemon::start();
    daemon.full.store(true, Ordering::SeqCst);
    let (status, body) = daemon.ask("POST", "/v1/pools/linux/drain", None).await;
    let error: ErrorBody = serde_json::from_str(&body).unwrap();
    assert_eq!((status, error.error.code.as_str()), (507, "not_stored"));
    assert!(error.error.message.contains("the disk is full"), "{body}");
    let document: StatusDocument = daemon.get("/v1/status").await;
    assert!(document.daemon.store_error.unwrap().contains("the disk is full"));

    daemon.full.store(false, Ordering::SeqCst);
    let recovered = async {
        while daemon.get::<StatusDocument>("/v1/status").await.daemon.store_error.is_some() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(STUCK, recovered).await.expect("the store is not tried again");
    assert_eq!(state(&daemon).await, "drained");
    daemon.end().await;
}
