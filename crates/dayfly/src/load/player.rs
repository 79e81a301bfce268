//! Plays a runner without a process: what GitHub's runner program says to the broker, and nothing of what a job does.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use dayfly_backends::noop::EventSender;
use dayfly_core::model::Sign;
use dayfly_runner_stub::{Broker, JitConfig, JobBody, Message};
use jiff::Timestamp;
use uuid::Uuid;

/// Half of the time after which GitHub gives up on a runner that does not renew its job's lock.
const RENEW_EVERY: Duration = Duration::from_secs(300);

/// How long a poll that broke waits before the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes one job and ends it. One without a step succeeds at once; one with steps is never done: it is held until the
/// instance is destroyed.
pub async fn play(registration: &str, say: &EventSender) -> Result<()> {
    let config = Arc::new(JitConfig::decode(registration)?);
    let mut broker = Broker::new(config)?;
    broker.authenticate().await?;
    broker.open_session().await?;
    say.said(Sign::Listening);
    let id = next_job(&mut broker).await?;
    let job = broker.acquire(id).await.context("acquire the job")?;
    say.said(Sign::JobStarted);
    run(&mut broker, id, &job).await?;
    say.said(Sign::JobCompleted);
    Ok(())
}

async fn next_job(broker: &mut Broker) -> Result<Uuid> {
    loop {
        match broker.message(false).await {
            Ok(Some(Message::Job { id })) => return Ok(id),
            Ok(_) => {}
            Err(error) if error.is("RunnerNotFound") => return Err(error.into()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn run(broker: &mut Broker, id: Uuid, job: &JobBody) -> Result<()> {
    if job.steps.is_empty() {
        return broker.complete(id, "succeeded", &[]).await.context("complete the job");
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a runner tells the time of its first step by its machine's clock"
    )]
    broker.first_step(id, Timestamp::now()).await.context("tell of the first step")?;
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        broker.renew(id).await.context("renew the job's lock")?;
    }
}
