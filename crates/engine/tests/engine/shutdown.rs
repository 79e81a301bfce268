//! The end: asked for, waited for, and sudden.

use std::time::Duration;

use dayfly_engine::StoreDriver;
use tokio::time::{Instant, sleep, timeout};

use crate::site::{FakeStore, JOB, Job, Site, pool, spec, start};

#[tokio::test(start_paused = true)]
async fn the_end_closes_sessions_and_leaves_busy_runners() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Thread);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    site.queue("linux", "one");
    site.until("the job runs", |state| matches!(state.jobs["one"].1, Job::Running(_))).await;
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
    assert!(began.elapsed() < JOB, "it waited for the job");
    assert!(site.state().sessions.is_empty(), "a session is left");
    assert_eq!(site.state().instances.len(), 1, "a busy instance was harmed");
    assert_eq!(store.runners().len(), 1);

    // The next daemon adopts it and cleans up after it.
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Thread);
    site.until("the job is done", |state| state.jobs["one"].1 == Job::Done).await;
    site.until("nothing is left", |state| state.instances.is_empty() && store.runners().is_empty())
        .await;
    assert_eq!(site.noted(" create linux-"), 1);
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_busy_runners() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    site.queue("linux", "one");
    site.until("the job runs", |state| matches!(state.jobs["one"].1, Job::Running(_))).await;
    sleep(Duration::from_secs(1)).await;
    handle.drain_all().await.unwrap();
    engine.ended().await.unwrap();
    assert_eq!(site.job("one"), Some(Job::Done));
    assert!(site.state().sessions.is_empty(), "a session is left");
    assert!(store.pool("linux").unwrap().drained.is_none(), "the next start would take no jobs");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_waiting_of_a_drain() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    site.queue("linux", "one");
    site.until("the job runs", |state| matches!(state.jobs["one"].1, Job::Running(_))).await;
    handle.drain_all().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(handle.read(|_| ()).await.is_ok(), "it did not wait for the job");
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
    assert!(matches!(site.job("one"), Some(Job::Running(_))), "it waited for the job");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_close_holds_up_the_end_for_seconds() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    site.state().sessions_hang = true;
    handle.stop().await.unwrap();
    let ended =
        timeout(Duration::from_secs(25), engine.ended()).await.expect("the end came too late");
    assert_eq!(ended, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_sudden_end_is_resolved_by_the_next_start() {
    // At every step of the job's life, in virtual time: before the session, between mint and hand-over, while busy.
    let steps = (0..60).map(Duration::from_millis).chain((1..40).map(Duration::from_secs));
    for step in steps {
        let site = Site::new();
        let store = FakeStore::new(&site);
        let spec = spec([pool("linux", 0)]);
        let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
        site.until("a session", |state| !state.sessions.is_empty()).await;
        site.queue("linux", "one");
        sleep(step).await;
        handle.end_now();
        engine.ended().await.unwrap();

        let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
        site.until("the job is done", |state| state.jobs["one"].1 == Job::Done).await;
        site.until("nothing is left", |state| {
            state.instances.is_empty()
                && state.registrations.is_empty()
                && store.runners().is_empty()
        })
        .await;
        handle.stop().await.unwrap();
        engine.ended().await.unwrap();
    }
}
