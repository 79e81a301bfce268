//! What webhooks tell is on disk before whoever brought it is answered.

use std::sync::Arc;

use dayfly_core::{
    model::{DemandSource, PoolSpec, Spec, WorkflowJob, WorkflowJobId, WorkflowJobStatus},
    ports::StoreErrorKind,
};
use dayfly_engine::{NotTaken, Stopped, StoreDriver};
use futures_util::future::join_all;

use crate::site::{FakeStore, Site, pool, spec, start};

fn hearing() -> Arc<Spec> {
    spec([PoolSpec { demand: DemandSource::Webhook, ..pool("linux", 0) }])
}

fn queued(id: i64) -> WorkflowJob {
    WorkflowJob {
        id: WorkflowJobId { id, attempt: 1 },
        run_id: 1,
        repository: "acme/app".into(),
        name: "build".into(),
        status: WorkflowJobStatus::Queued,
        conclusion: None,
        labels: vec!["self-hosted".into()],
        runner: None,
        created_at: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_answered_once_it_is_on_disk() {
    for driver in [StoreDriver::Inline, StoreDriver::Thread] {
        let site = Site::new();
        let store = FakeStore::new(&site);
        let (engine, handle) = start(&site, &hearing(), &store, driver);
        handle.evidence(queued(1)).await.unwrap();
        assert_eq!(store.workflow_jobs().len(), 1, "{driver:?}");
        // Again: nothing is new, and nothing is made twice.
        handle.evidence(queued(1)).await.unwrap();
        site.until("a runner is registered", |state| state.registrations.len() == 1).await;
        assert_eq!(site.noted(" create linux-"), 1);
        assert_eq!(site.noted(" job-1"), 1, "one commit for one job");
        handle.stop().await.unwrap();
        engine.ended().await.unwrap();
        assert_eq!(handle.evidence(queued(2)).await, Err(NotTaken::Stopped(Stopped)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_not_answered_as_if_it_were() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    let (engine, handle) = start(&site, &hearing(), &store, StoreDriver::Thread);
    handle.evidence(queued(1)).await.unwrap();
    site.until("the disk is at rest", |state| state.registrations.len() == 1).await;
    store.break_with(Some(StoreErrorKind::Full));
    let Err(NotTaken::NotStored(error)) = handle.evidence(queued(2)).await else {
        panic!("it is answered as if it were stored")
    };
    assert_eq!(error.kind, StoreErrorKind::Full);
    // It is known in memory, and still not stored.
    assert!(matches!(handle.evidence(queued(2)).await, Err(NotTaken::NotStored(_))));
    assert_eq!(store.workflow_jobs().len(), 1);
    store.break_with(None);
    handle.evidence(queued(2)).await.unwrap();
    assert_eq!(store.workflow_jobs().len(), 2);
    site.until("its runner is registered", |state| state.registrations.len() == 2).await;
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

/// Far more at once than may wait: what is answered well is stored, with few commits; the rest is told to come again.
#[tokio::test]
async fn a_flood_is_committed_in_groups_and_bounded() {
    const FLOOD: i64 = 10_000;
    let site = Site::new();
    let store = FakeStore::new(&site);
    let (engine, handle) = start(&site, &hearing(), &store, StoreDriver::Thread);
    // No pool takes them: the test is of the way to the disk.
    let delivery = |id| WorkflowJob { labels: vec!["windows".into()], ..queued(id) };
    let answers = join_all((1..=FLOOD).map(|id| handle.evidence(delivery(id)))).await;
    let mut taken = 0;
    for answer in answers {
        match answer {
            Ok(()) => taken += 1,
            Err(error) => assert_eq!(error, NotTaken::Full),
        }
    }
    assert!(taken > 0 && taken < FLOOD, "{taken} of {FLOOD} are taken");
    assert_eq!(i64::try_from(store.workflow_jobs().len()).unwrap(), taken);
    assert!(site.noted(" commit") < 100, "{} commits", site.noted(" commit"));
    // Once there is room, they come again.
    for id in 1..=10 {
        handle.evidence(queued(FLOOD + id)).await.unwrap();
    }
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_no_webhook_told_is_caught_up_on() {
    let site = Site::new();
    let store = FakeStore::new(&site);
    site.state().workflow_jobs.insert(1, queued(1));
    let (engine, handle) = start(&site, &hearing(), &store, StoreDriver::Thread);
    site.until("its runner is registered", |state| state.registrations.len() == 1).await;
    // A second one waits for its runner longer than its news is believed, and ended meanwhile.
    handle.evidence(queued(2)).await.unwrap();
    let ended = WorkflowJob { status: WorkflowJobStatus::Completed, ..queued(2) };
    site.state().workflow_jobs.insert(2, ended);
    site.until("it is read", |state| state.journal.iter().any(|line| line.contains("read job 2")))
        .await;
    site.until("what was found is stored", |_| {
        let stored = store.workflow_jobs();
        stored.iter().any(|row| row.job.status == WorkflowJobStatus::Completed)
    })
    .await;
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();

    site.note("another life");
    let (engine, handle) = start(&site, &hearing(), &store, StoreDriver::Thread);
    site.until("the place in the deliveries is kept", |state| {
        let lines = state.journal.iter().skip_while(|line| !line.contains("another life"));
        let mut lists = lines.filter(|line| line.contains("catch up"));
        lists.next().is_some_and(|first| first.contains("after Some"))
    })
    .await;
    handle.stop().await.unwrap();
    engine.ended().await.unwrap();
}
