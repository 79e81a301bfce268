//! How fast evidence becomes create calls, one job at a time and a thousand at once.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    figure::{Figure, Unit},
    rig::{Bench, Pool, Rig},
};

/// Jobs in the burst.
const BURST: usize = 1_000;

/// Single jobs in a run, for its median.
const SINGLES: usize = 20;

const PATIENCE: Duration = Duration::from_secs(60);

/// `evidence-to-create` and `evidence-to-create-p99`.
pub async fn evidence_to_create(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut singles, mut bursts) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut rig = Rig::start(bench, "127.0.0.1", &Pool::noop(BURST)).await?;
        for number in 1..=SINGLES {
            rig.simulator.queue("bench", &[], 1).await?;
            let done = number as u64;
            rig.simulator
                .until("single jobs", PATIENCE, |counts| {
                    counts.jobs("success") == done && counts.registrations() == 0
                })
                .await?;
        }
        singles.push(evidence(&rig.status().await?, "p50")?);
        drop(rig);
        // The daemon's newest samples are those of the burst alone: it starts anew.
        rig = Rig::start(bench, "127.0.0.1", &Pool::noop(BURST)).await?;
        rig.simulator.queue("bench", &["hold"], BURST).await?;
        rig.until_created(BURST as u64, PATIENCE)?;
        bursts.push(evidence(&rig.status().await?, "p99")?);
    }
    Ok(vec![
        Figure::of("evidence-to-create", Unit::Milliseconds, &singles)?,
        Figure::of("evidence-to-create-p99", Unit::Milliseconds, &bursts)?,
    ])
}

pub fn evidence(status: &Value, rank: &str) -> Result<f64> {
    status["daemon"]["timings"]["evidence_to_create_ms"][rank]
        .as_f64()
        .context("the daemon's status has no evidence_to_create_ms")
}

/// `burst` and `burst-cpu`.
pub async fn burst(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut rig = Rig::start(bench, "127.0.0.1", &Pool::noop(BURST)).await?;
        let cpu_before = rig.cpu_s()?;
        let queued_at = rig.simulator.queue("bench", &["hold"], BURST).await?;
        let report = rig.until_created(BURST as u64, PATIENCE)?;
        cpus.push(rig.cpu_s()? - cpu_before);
        walls.push(report.last_create_at.context("the time of the last create call")? - queued_at);
    }
    Ok(vec![
        Figure::of("burst", Unit::Seconds, &walls)?,
        Figure::of("burst-cpu", Unit::Seconds, &cpus)?,
    ])
}
