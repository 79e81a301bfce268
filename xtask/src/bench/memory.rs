//! What ten thousand live runners cost: memory, and a pass.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    figure::{Figure, Unit},
    rig::{Bench, Pool, Rig},
};

/// Ten thousand runners come online one RSA signature each.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the daemon is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

/// `memory-1000` and `memory-10000`.
pub async fn memory(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, count) in [("memory-1000", 1_000), ("memory-10000", 10_000)] {
        let mut values = Vec::new();
        for _ in 0..runs {
            let rig = live(bench, count, count).await?;
            tokio::time::sleep(SETTLE).await;
            values.push(rig.memory_mib()?);
        }
        figures.push(Figure::of(name, Unit::Mebibytes, &values)?);
    }
    Ok(figures)
}

/// `pass-10000`: a message leaves GitHub → its acknowledgement arrives, which the daemon sends once it has read the message,
/// passed, committed and passed again. More than the pass alone: the whole way from wake-up to idle, seen from outside.
pub async fn pass(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    const LIVE: usize = 10_000;
    let rig = live(bench, LIVE, LIVE + 1).await?;
    tokio::time::sleep(SETTLE).await;
    let mut values = Vec::new();
    for number in 1..=runs.max(20) {
        let since = rig.simulator.journal_end().await?;
        rig.simulator.queue("bench", &[], 1).await?;
        let done = number as u64;
        rig.simulator
            .until("one more job", PATIENCE, |counts| counts.jobs("success") == done)
            .await?;
        values.push(acknowledged_ms(&rig, since).await?);
        rig.simulator
            .until("its end", PATIENCE, |counts| counts.registrations() == LIVE as u64)
            .await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(vec![Figure::of("pass-10000", Unit::Milliseconds, &values)?])
}

/// A job may be over before the message that gave it is acknowledged.
async fn acknowledged_ms(rig: &Rig, since: u64) -> Result<f64> {
    let asked = async {
        loop {
            if let Some(value) = rig.simulator.message_to_acknowledgement_ms(since).await? {
                return Ok(value);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.context("no message was acknowledged")?
}

/// A rig with `count` runners, each with a job that does not end.
pub async fn live(bench: &Bench, count: usize, max: usize) -> Result<Rig> {
    let rig = Rig::start(bench, "127.0.0.1", &Pool::noop(max)).await?;
    rig.simulator.queue("bench", &["hold"], count).await?;
    let all = count as u64;
    rig.simulator
        .until("live runners", PATIENCE, |counts| {
            counts.online() == all && counts.jobs("running") == all
        })
        .await?;
    Ok(rig)
}
