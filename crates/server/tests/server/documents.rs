//! Every document arrives, and reads back as the type that made it.

use dayfly_core::report::{Explanation, JobView, PlanView, PoolStatus, RunnerView};
use dayfly_engine::TaskStatus;
use dayfly_server::{StatusDocument, Version};

use crate::daemon::Daemon;

#[tokio::test]
async fn documents_read_back() {
    let daemon = Daemon::start();
    let version: Version = daemon.get("/v1/version").await;
    assert_eq!(version.version, env!("CARGO_PKG_VERSION"));

    let status: StatusDocument = daemon.get("/v1/status").await;
    assert_eq!(status.status.pools[0].name, "linux");
    assert_eq!(status.status.scopes[0].url, "https://github.com/acme");
    assert_eq!(status.daemon.tasks["controller"], TaskStatus::Running);
    assert_eq!(status.daemon.store_error, None);
    assert!(status.daemon.timings.passes > 0);

    let runners: Vec<RunnerView> = daemon.get("/v1/runners").await;
    assert!(
        runners
            .iter()
            .any(|runner| runner.name == daemon.runner.as_str() && runner.instance == "ready")
    );
    let jobs: Vec<JobView> = daemon.get("/v1/jobs").await;
    assert_eq!(jobs, []);
    let plan: PlanView = daemon.get("/v1/plan").await;
    assert_eq!(plan.pools[0].pool, "linux");
    let pool: PoolStatus = daemon.get("/v1/pools/linux").await;
    assert_eq!(pool.state, "open");

    for what in ["linux", daemon.runner.as_str()] {
        let explanation: Explanation = daemon.get(&format!("/v1/explain?what={what}")).await;
        assert!(explanation.sentence.contains(what), "{explanation:?}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn an_engine_that_has_ended_is_said() {
    let daemon = Daemon::start();
    daemon.end_engine().await;
    for path in ["/v1/status", "/v1/runners", "/v1/pools/linux"] {
        let (status, body) = daemon.ask("GET", path, None).await;
        assert_eq!(status, 503, "{path}");
        assert!(body.contains("\"stopping\""), "{body}");
    }
    daemon.end().await;
}
