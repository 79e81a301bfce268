//! Lists of runners over several pages.

use std::collections::BTreeSet;

use dayfly_core::ports::Forge;

use serde_json::json;

use crate::fixture::{Fixture, opened, runner};

#[tokio::test]
async fn a_list_of_several_pages_is_whole() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    let names: Vec<_> = (0..250).map(runner).collect();
    let minted =
        futures_util::future::join_all(names.iter().map(|name| github.mint(set, name))).await;
    let minted: BTreeSet<_> = minted.into_iter().map(|minted| minted.unwrap().id).collect();
    assert_eq!(minted.len(), 250);
    let listed: BTreeSet<_> =
        github.list_runners().await.unwrap().into_iter().map(|record| record.id).collect();
    assert_eq!(listed, minted);
    assert_eq!(fixture.calls("runners.list").await, 3);
}

#[tokio::test]
async fn a_list_that_changed_is_read_anew() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    let check = async |expected: Vec<String>| {
        let listed = github.list_runners().await.unwrap();
        let names: Vec<String> = listed.into_iter().map(|record| record.name).collect();
        assert_eq!(names, expected);
    };
    let name = |number| runner(number).as_str().to_owned();
    check(vec![]).await;
    let first = github.mint(set, &runner(5)).await.unwrap();
    check(vec![name(5)]).await;
    check(vec![name(5)]).await;
    github.mint(set, &runner(6)).await.unwrap();
    check(vec![name(5), name(6)]).await;
    github.remove_runner(first.id).await.unwrap();
    check(vec![name(6)]).await;
}

#[tokio::test]
async fn a_name_is_looked_up_exactly() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    let minted = github.mint(set, &runner(5)).await.unwrap();
    github.mint(set, &runner(6)).await.unwrap();
    let record = github.find_runner(&runner(5)).await.unwrap().unwrap();
    assert_eq!((record.id, record.name.as_str()), (minted.id, runner(5).as_str()));
}

#[tokio::test]
async fn a_job_that_waits_behind_a_hundred_completed_ones_is_found() {
    let (fixture, github) = Fixture::with_token("acme/app").await;
    let queued = json!({ "scope": "acme/app", "labels": ["linux"], "count": 101 });
    let queued = fixture.control("jobs", &queued).await;
    let ids = queued["job_ids"].as_array().unwrap();
    for id in &ids[..100] {
        let end = json!({ "conclusion": "success" });
        fixture.control(&format!("jobs/{id}/complete"), &end).await;
    }
    let run = fixture.look("state").await["jobs"][0]["run_id"].as_i64().unwrap();
    let read = github.find_jobs("acme/app", run, None).await.unwrap();
    assert_eq!(read.iter().filter(|job| job.status == "queued").count(), 1);
}

#[tokio::test]
async fn jobs_of_a_run_are_read() {
    let (fixture, github) = Fixture::with_token("acme/app").await;
    let queued =
        json!({ "scope": "acme/app", "labels": ["linux", "gpu"], "steps": [], "count": 1 });
    fixture.control("jobs", &queued).await;
    let state = fixture.look("state").await;
    let job = &state["jobs"][0];
    let (id, run) = (job["id"].as_i64().unwrap(), job["run_id"].as_i64().unwrap());
    let by_run = github.find_jobs("acme/app", run, None).await.unwrap();
    let by_id = github.find_jobs("acme/app", run, Some(id)).await.unwrap();
    assert_eq!(by_run, by_id);
    let [record] = by_id.as_slice() else { panic!("one job was queued: {by_id:?}") };
    assert_eq!((record.id, record.run_id, record.status.as_str()), (id, run, "queued"));
    assert_eq!(record.labels, ["linux", "gpu"]);
    assert_eq!(record.runner, None);
    assert!(github.find_jobs("acme/app", run, Some(id + 1_000)).await.is_err());
}
