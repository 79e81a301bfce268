//! How many requests a job costs.

use std::time::Duration;

use anyhow::Result;

use super::{
    figure::{Figure, Unit},
    rig::{Bench, Pool, Rig},
};

/// Jobs in a run.
const JOBS: usize = 200;

const PATIENCE: Duration = Duration::from_secs(60);

/// `calls-per-job-1` and `calls-per-job-5`.
pub async fn per_job(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, group) in [("calls-per-job-1", 1), ("calls-per-job-5", 5)] {
        let mut values = Vec::new();
        for _ in 0..runs {
            values.push(in_groups(bench, &Pool::noop(10), group).await?);
        }
        figures.push(Figure::of(name, Unit::One, &values)?);
    }
    Ok(figures)
}

/// `calls-per-job-webhook`: in groups of five.
pub async fn per_job_by_webhook(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let mut values = Vec::new();
    for _ in 0..runs {
        values.push(in_groups(bench, &Pool::by_webhook(10), 5).await?);
    }
    Ok(vec![Figure::of("calls-per-job-webhook", Unit::One, &values)?])
}

/// Queues jobs in groups, the next when all of the last have ended; every request from the session's opening to the
/// proof that the last registration is gone counts.
async fn in_groups(bench: &Bench, pool: &Pool, group: usize) -> Result<f64> {
    let rig = Rig::start(bench, "127.0.0.1", pool).await?;
    until_no_rows(&rig).await?;
    let before = rig.simulator.daemon_calls().await?;
    let done = rig.simulator.counts().await?.jobs("success");
    for ended in (group..=JOBS).step_by(group) {
        rig.simulator.queue("bench", &[], group).await?;
        rig.simulator
            .until("jobs", PATIENCE, |counts| counts.jobs("success") == done + ended as u64)
            .await?;
    }
    until_no_rows(&rig).await?;
    let calls = rig.simulator.daemon_calls().await? - before;
    Ok(calls as f64 / JOBS as f64)
}

/// Waits until the daemon has no runner left: the proofs that registrations are gone are calls too.
async fn until_no_rows(rig: &Rig) -> Result<()> {
    let wait = async {
        while !rig.runners().await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    // A list every five minutes is what proves absence at the latest.
    tokio::time::timeout(Duration::from_secs(400), wait).await?
}
