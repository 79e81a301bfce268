//! A job goes through its life, and the same happens twice.

use dayfly_core::{effect::Command, model::Phase};
use dayfly_engine::{Refused, StoreDriver};

use crate::site::{FakeStore, Job, Site, pool, spec, start};

/// Runs three jobs through a pool; returns what happened, line by line.
async fn run(warm: u32) -> Vec<String> {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", warm)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    for job in ["one", "two", "three"] {
        site.queue("linux", job);
    }
    site.until("every job done", |state| state.jobs.values().all(|(_, job)| *job == Job::Done))
        .await;
    site.until("nothing left but warm", |state| {
        let rows = store.runners();
        state.instances.len() == warm as usize
            && state.registrations.is_empty()
            && rows.len() == warm as usize
    })
    .await;
    let (timings, scopes) = handle.read(|view| (view.timings(), view.scopes())).await.unwrap();
    assert_eq!(scopes["acme"].requests, 3, "a mint for each job");
    assert!(timings.passes > 0 && timings.commits > 0);
    assert_eq!(timings.evidence_to_create_ms.n, 3 + u64::from(warm));
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
    site.journal()
}

#[tokio::test(start_paused = true)]
async fn jobs_run_and_nothing_is_left() {
    run(0).await;
}

#[tokio::test(start_paused = true)]
async fn warm_instances_take_the_jobs() {
    run(2).await;
}

#[test]
fn the_same_happens_twice() {
    let once = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(2))
    };
    let (first, second) = (once(), once());
    assert!(first.len() > 50, "{first:#?}");
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn readers_see_and_commands_change() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 1)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a warm instance", |state| state.instances.len() == 1).await;
    site.until("its row", |_| store.runners().iter().any(|runner| runner.phase() == Phase::Warm))
        .await;
    let name = handle.read(|view| view.world.runners().next().unwrap().name.clone()).await.unwrap();

    handle.command(Command::Remove { runner: name.clone(), even_busy: false }).await.unwrap();
    let stored = store.runners().into_iter().find(|runner| runner.name == name);
    assert!(stored.is_none_or(|runner| runner.retiring.is_some()), "answered before the commit");
    site.until("it is replaced", |state| state.instances.keys().any(|made| *made != name)).await;

    let gone = handle.command(Command::Remove { runner: name.clone(), even_busy: false }).await;
    assert_eq!(gone, Err(Refused::NoSuchRunner(name)));
    let unknown = "windows".to_owned().try_into().unwrap();
    assert!(matches!(handle.command(Command::Drain(unknown)).await, Err(Refused::NoSuchPool(_))));
    handle.command(Command::Drain("linux".to_owned().try_into().unwrap())).await.unwrap();
    assert!(store.pool("linux").unwrap().drained.is_some());
    site.until("nothing is left", |state| state.instances.is_empty()).await;

    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
    assert!(handle.read(|_| ()).await.is_err());
    assert!(matches!(handle.stop().await, Err(Refused::Stopped(_))));
}
