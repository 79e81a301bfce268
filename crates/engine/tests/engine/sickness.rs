//! One sick part costs the others nothing.

use std::time::Duration;

use dayfly_engine::{StoreDriver, TaskStatus};
use tokio::time::{sleep, timeout};

use crate::site::{FakeStore, Fault, JOB, Job, Site, pool, spec, start};

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_delays_no_other_pool() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0), pool("sick", 0)]);
    site.fault("on-sick", Fault::CreateHangs);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("both sessions", |state| state.sessions.len() == 2).await;
    for number in 0..8 {
        site.queue("sick", &format!("sick-{number}"));
    }
    site.until("creates hang", |state| {
        state.journal.iter().any(|line| line.contains("create sick-"))
    })
    .await;
    site.queue("linux", "one");
    let done = site.until("the sound pool's job", |state| state.jobs["one"].1 == Job::Done);
    timeout(JOB + Duration::from_secs(5), done).await.expect("it waited for the sick backend");
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_panics_is_a_failed_call() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    site.fault("on-linux", Fault::CreatePanics);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    site.queue("linux", "one");
    site.until("the job is done all the same", |state| state.jobs["one"].1 == Job::Done).await;
    site.until("nothing is left", |state| state.instances.is_empty()).await;
    let (tasks, failed) =
        handle.read(|view| (view.tasks(), view.store_error.is_some())).await.unwrap();
    assert!(!failed);
    assert!(tasks.values().all(|status| *status == TaskStatus::Running), "{tasks:?}");
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_advertises_too_much_is_stopped() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a poll", |state| {
        state.journal.iter().any(|line| line.contains("poll capacity 10"))
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    let polls = site.noted("poll capacity");
    handle
        .command(dayfly_core::effect::Command::Drain("linux".to_owned().try_into().unwrap()))
        .await
        .unwrap();
    // The poll under way would last 50 seconds.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(site.noted("poll capacity"), polls + 1, "{:#?}", site.journal());
    assert_eq!(site.noted("poll capacity 0"), 1);
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}
