//! Nothing begins before its batch is committed.

use std::{collections::BTreeSet, time::Duration};

use dayfly_core::{effect::Command, ports::StoreErrorKind};
use dayfly_engine::{Refused, StoreDriver};
use tokio::time::sleep;

use crate::site::{FakeStore, Job, Site, pool, spec, start};

/// For each effect on a runner, the row that must be on disk before it: its instance and its registration.
const INTENTS: [(&str, &str, &str); 4] = [
    ("create", "creating", ""),
    ("mint", "", "minting"),
    ("hand-over", "spent", "handing-over"),
    ("destroy", "removing", ""),
];

fn check_order(journal: &[String]) {
    let mut rows = BTreeSet::new();
    let mut effects = 0;
    for line in journal {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        if words[0] == "commit" {
            rows.extend(words[1..].iter().map(|row| row.split(['=', '/']).collect::<Vec<_>>()));
        }
        let Some((_, instance, registration)) =
            INTENTS.iter().find(|(effect, ..)| words[0] == *effect)
        else {
            continue;
        };
        effects += 1;
        let intended = rows.iter().any(|row| {
            let [runner, stored_instance, stored_registration] = row[..] else { return false };
            runner == words[1]
                && (instance.is_empty() || stored_instance == *instance)
                && (registration.is_empty() || stored_registration == *registration)
        });
        assert!(intended, "{line} without its intent;\n{}", journal.join("\n"));
    }
    assert_eq!(effects, 8, "two jobs, four effects each;\n{}", journal.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn intent_comes_before_effect() {
    for driver in [StoreDriver::Inline, StoreDriver::Thread] {
        let site = Site::new();
        let store = FakeStore::new(&site);
        let spec = spec([pool("linux", 0)]);
        let (engine, handle) = start(&site, &spec, &store, driver);
        site.until("a session", |state| !state.sessions.is_empty()).await;
        site.queue("linux", "one");
        site.queue("linux", "two");
        site.until("both done", |state| state.jobs.values().all(|(_, job)| *job == Job::Done))
            .await;
        site.until("nothing left", |state| state.instances.is_empty()).await;
        handle.stop().await.unwrap();
        engine.ended().await.unwrap();
        check_order(&site.journal());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_withholds_effects_and_recovers() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    sleep(Duration::from_secs(1)).await;

    store.break_with(Some(StoreErrorKind::Full));
    site.queue("linux", "one");
    site.until("a refused commit", |state| {
        state.journal.iter().any(|line| line.contains("commit refused"))
    })
    .await;
    let drained = handle.command(Command::Undrain("linux".to_owned().try_into().unwrap())).await;
    assert!(matches!(drained, Err(Refused::NotStored(_))), "{drained:?}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(site.noted(" create linux-"), 0, "an effect began without its intent");
    assert_eq!(site.noted(" acknowledge"), 0, "a message was deleted before it was stored");
    assert!(site.noted("commit refused") >= 30, "it is tried again");
    assert_eq!(site.noted("\"alarm\""), 1, "one alarm for one failure");
    let error = handle.read(|view| view.store_error.cloned()).await.unwrap();
    assert_eq!(error.map(|error| error.kind), Some(StoreErrorKind::Full));

    store.break_with(None);
    site.until("the job is done", |state| state.jobs["one"].1 == Job::Done).await;
    site.until("nothing is left", |state| state.instances.is_empty() && state.messages.is_empty())
        .await;
    assert_eq!(handle.read(|view| view.store_error.cloned()).await.unwrap(), None);
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
    assert_eq!(site.noted(" create linux-"), 1, "one job, one instance");
}

#[tokio::test(start_paused = true)]
async fn rows_changed_behind_our_back_end_the_daemon() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let spec = spec([pool("linux", 0)]);
    let (engine, handle) = start(&site, &spec, &store, StoreDriver::Inline);
    site.until("a session", |state| !state.sessions.is_empty()).await;
    store.break_with(Some(StoreErrorKind::Generation));
    site.queue("linux", "one");
    let died = engine.ended().await.unwrap_err();
    assert_eq!(died.name, "controller");
    assert!(handle.read(|_| ()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_ends_the_daemon() {
    for driver in [StoreDriver::Inline, StoreDriver::Thread] {
        let site = Site::new();
        let store = FakeStore::new(&site);
        let spec = spec([pool("linux", 0)]);
        let (engine, _handle) = start(&site, &spec, &store, driver);
        site.until("a session", |state| !state.sessions.is_empty()).await;
        store.panic_next();
        site.queue("linux", "one");
        let died = engine.ended().await.unwrap_err();
        assert!(died.why.contains("panicked"), "{died}");
    }
}
