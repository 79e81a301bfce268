//! Event streams: what they miss is listed.

use std::time::Duration;

use dayfly_core::{
    model::{RunnerName, Sign},
    ports::InstanceEvent,
};
use dayfly_engine::StoreDriver;
use tokio::time::{sleep, timeout};

use crate::site::{FakeStore, Fault, Job, Site, pool, spec, start};

/// How long a list may take to follow a break: the first wait of the watch, and some. The periodic list comes after
/// five minutes.
const SOON: Duration = Duration::from_secs(20);

async fn lists_follow(site: &Site, before: usize) {
    let listed = site.until("a list", |state| {
        state.journal.iter().filter(|line| line.contains("list on-linux")).count() > before
    });
    timeout(SOON, listed).await.expect("no list followed");
}

#[tokio::test(start_paused = true)]
async fn a_list_follows_a_broken_stream() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    sleep(Duration::from_secs(30)).await;
    let lists = site.noted("list on-linux");
    site.break_watch("on-linux");
    lists_follow(&site, lists).await;
    site.until("it is followed again", |state| state.watchers.contains_key("on-linux")).await;
    assert_eq!(site.noted("watch on-linux"), 2);
    assert!(site.noted("the connection was closed") >= 1, "the engine's words are not told");
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_is_a_broken_stream() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    site.fault("on-linux", Fault::WatchPanics);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("it is followed again", |state| state.watchers.contains_key("on-linux")).await;
    assert_eq!(site.noted("watch on-linux"), 2);
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_finds_the_inbox_full_is_listed() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 1)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a warm instance", |state| state.instances.len() == 1).await;
    site.until("it is watched", |state| state.watchers.contains_key("on-linux")).await;
    sleep(Duration::from_secs(30)).await;
    let lists = site.noted("list on-linux");
    let warm = site.state().instances.keys().next().cloned().unwrap();
    // Far more than the inbox holds, in one breath; the end of the warm instance, in the middle, is told to nobody.
    let stranger = RunnerName::new("linux-zzzzzzzzzzzzzz").unwrap();
    site.burst("on-linux", vec![InstanceEvent::Said(stranger, Sign::Listening); 10_000]);
    let watcher = site.state().watchers.remove("on-linux");
    site.end_instance(&warm, Some(1));
    site.state().watchers.insert("on-linux".into(), watcher.unwrap());
    lists_follow(&site, lists).await;
    let replaced = site.until("the dead one is replaced", |state| {
        !state.instances.contains_key(&warm) && !state.instances.is_empty()
    });
    timeout(SOON, replaced).await.expect("its end was lost");
    assert_eq!(site.noted("watch on-linux"), 1, "the stream itself did not break");
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_told_is_found() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    site.queue("linux", "one");
    site.until("the job runs", |state| matches!(state.jobs["one"].1, Job::Running(_))).await;
    site.state().watchers.remove("on-linux");
    site.until("nothing is left", |state| state.instances.is_empty()).await;
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}
