//! Jobs that webhooks tell of: how fast they become create calls, and how many deliveries the endpoint takes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    burst::evidence,
    clock,
    figure::{Figure, Unit},
    rig::{Bench, Pool, Rig},
    sender,
};

/// Single jobs in a run.
const SINGLES: usize = 200;

/// Jobs in the burst.
const BURST: usize = 10_000;

/// How long deliveries are sent for.
const INTAKE: Duration = Duration::from_secs(30);

const PATIENCE: Duration = Duration::from_secs(120);

/// `webhook-to-create-p50` and `webhook-to-create-p99`.
pub async fn to_create(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut halves, mut most) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let rig = Rig::start(bench, "127.0.0.1", &Pool::by_webhook(10)).await?;
        singles(&rig).await?;
        let status = rig.status().await?;
        halves.push(evidence(&status, "p50")?);
        most.push(evidence(&status, "p99")?);
    }
    Ok(vec![
        Figure::of("webhook-to-create-p50", Unit::Milliseconds, &halves)?,
        Figure::of("webhook-to-create-p99", Unit::Milliseconds, &most)?,
    ])
}

/// One job after the other.
async fn singles(rig: &Rig) -> Result<()> {
    let done = rig.simulator.counts().await?.jobs("success");
    for number in 1..=SINGLES as u64 {
        rig.simulator.queue("bench", &[], 1).await?;
        rig.simulator
            .until("single jobs", PATIENCE, |counts| {
                counts.jobs("success") == done + number && counts.registrations() == 0
            })
            .await?;
    }
    Ok(())
}

/// `sick-backend-ratio`: the half of `webhook-to-create` while another backend hangs on every call, over without it.
pub async fn sick_backend(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        for (sick, halves) in [(true, &mut beside), (false, &mut alone)] {
            let rig = Rig::start_beside(bench, &Pool::by_webhook(10), sick).await?;
            if sick {
                // They wait for the sick one, all the time.
                rig.simulator.queue("sick", &[], 5).await?;
            }
            singles(&rig).await?;
            halves.push(evidence(&rig.status().await?, "p50")?);
        }
    }
    Ok(vec![Figure::ratio("sick-backend-ratio", &beside, &alone)?])
}

/// `webhook-burst` and `webhook-burst-rate`.
pub async fn burst(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut walls, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut rig = Rig::start(bench, "127.0.0.1", &Pool::by_webhook(BURST)).await?;
        rig.load.reset()?;
        let queued_at = rig.simulator.queue("bench", &["hold"], BURST).await?;
        let mut seen = vec![(queued_at, 0)];
        let until = clock::now() + PATIENCE.as_secs_f64();
        let last_create_at = loop {
            let report = rig.load.report()?;
            seen.push((clock::now(), report.creates));
            if report.creates >= BURST as u64 {
                break report.last_create_at.context("the time of the last create call")?;
            }
            ensure!(clock::now() < until, "{} of {BURST} create calls", report.creates);
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let tenth = BURST as u64 / 10;
        let first = reached(&seen, tenth) - reached(&seen, 1);
        let last = last_create_at - reached(&seen, 9 * tenth);
        walls.push(last_create_at - queued_at);
        rates.push(first / last);
    }
    Ok(vec![
        Figure::of("webhook-burst", Unit::Seconds, &walls)?,
        Figure::of("webhook-burst-rate", Unit::One, &rates)?,
    ])
}

/// When that many creates had been seen, between two looks by their straight line.
fn reached(seen: &[(f64, u64)], count: u64) -> f64 {
    let after = seen.partition_point(|(_, creates)| *creates < count).min(seen.len() - 1);
    let ((from, less), (to, more)) = (seen[after.saturating_sub(1)], seen[after]);
    if more == less {
        return to;
    }
    from + (to - from) * (count.saturating_sub(less) as f64 / (more - less) as f64)
}

/// `webhook-intake`, deliveries a second, and `webhook-intake-p99`, what one waits for its answer.
pub async fn intake(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (mut rates, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let rig = Rig::start(bench, "127.0.0.1", &Pool::by_webhook(10)).await?;
        let address = rig.webhook_address.context("no webhook")?;
        let (mut times, took) = sender::send(address, INTAKE)?;
        rates.push(times.len() as f64 / took);
        times.sort_by(f64::total_cmp);
        let rank = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
        waits.push(*times.get(rank).context("no delivery was taken")?);
    }
    Ok(vec![
        Figure::of("webhook-intake", Unit::PerSecond, &rates)?,
        Figure::of("webhook-intake-p99", Unit::Milliseconds, &waits)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_looks_creates_come_evenly() {
        let seen = [(10.0, 0), (11.0, 0), (12.0, 100), (12.0, 100), (14.0, 300)];
        let check = |count: u64, at: f64| {
            let found = reached(&seen, count);
            assert!((found - at).abs() < 1e-9, "{count}: {found}");
        };
        check(50, 11.5);
        check(100, 12.0);
        check(200, 13.0);
        check(300, 14.0);
    }
}
