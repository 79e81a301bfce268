//! How fast a killed daemon is back, and what it leaves behind.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    clock,
    figure::{Figure, Unit},
    memory,
    rig::Bench,
};

/// Runners that live on while the daemon is dead.
const LIVE: usize = 1_000;

/// Jobs that are queued meanwhile.
const MORE: usize = 10;

const PATIENCE: Duration = Duration::from_secs(60);

/// `recover-1000` and `recover-strays`.
pub async fn recover(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut times, mut strays) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut rig = memory::live(bench, LIVE, LIVE + MORE).await?;
        rig.load.reset()?;
        rig.crash_daemon()?;
        rig.simulator.queue("bench", &["hold"], MORE).await?;
        let started_at = clock::now();
        rig.start_daemon()?;
        let report = rig.until_created(1, PATIENCE)?;
        times.push(
            report.first_create_at.context("the time of the first create call")? - started_at,
        );
        let all = (LIVE + MORE) as u64;
        rig.simulator
            .until("all runners", PATIENCE, |counts| counts.jobs("running") == all)
            .await?;
        let instances = rig.load.instances()?;
        let registrations = rig.simulator.state().await?.runners;
        strays
            .push(registrations.iter().filter(|runner| !instances.contains(&runner.name)).count()
                as f64);
    }
    Ok(vec![
        Figure::of("recover-1000", Unit::Seconds, &times)?,
        Figure::of("recover-strays", Unit::One, &strays)?,
    ])
}
