//! A pool that is kept full: as many idle runners as it keeps, whatever passes through it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::site::{Setup, Site};

/// What the pool keeps, and its `max`.
const KEPT: usize = 5;

fn setup() -> Setup {
    let more = format!("    min_idle: {KEPT}\n");
    Setup { demand: "fixed", max: KEPT, more, ..Setup::default() }
}

/// The names of the runners in a phase.
fn names(runners: &Value, phase: &str) -> BTreeSet<String> {
    let rows = runners.as_array().unwrap().iter().filter(|runner| runner["phase"] == phase);
    rows.map(|runner| runner["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until exactly the runners that are kept are there, all of them idle.
fn until_full(site: &Site) -> BTreeSet<String> {
    let full = |runners: &Value| {
        names(runners, "online").len() == KEPT && runners.as_array().unwrap().len() == KEPT
    };
    names(&site.until(&["runners"], full), "online")
}

#[tokio::test]
async fn it_is_full_again_after_jobs_crashes_and_removals() {
    let mut site = Site::new(setup()).await;
    site.start();
    until_full(&site);
    let status = site.json(&["status"]);
    let pool = &status["pools"][0];
    assert_eq!((&pool["demand"], &pool["min_idle"]), (&json!("fixed"), &json!(KEPT)));
    let summary = site.github.get("summary").await;
    assert_eq!((&summary["sets"], &summary["sessions"]), (&json!(0), &json!(0)));

    // Jobs pass, each on a runner of its own, and the daemon dies among them.
    site.github.queue("acme/site", Some("sleep 0.5"), 12).await;
    site.github.until("some jobs done", async |github| github.jobs("success").await >= 3).await;
    site.crash();
    site.start();
    site.github.until_jobs("success", 12).await;
    let state = site.github.get("state").await;
    let jobs = state["jobs"].as_array().unwrap();
    let took: BTreeSet<&str> =
        jobs.iter().map(|job| job["runner_name"].as_str().unwrap()).collect();
    assert_eq!(took.len(), 12, "{took:?}");
    let second = until_full(&site);
    assert!(
        second.iter().all(|name| !took.contains(name.as_str())),
        "one job for each: {second:?}"
    );

    // GitHub removes one that idles: its process ends, and another one comes.
    let gone = second.iter().next().unwrap().clone();
    let id = |state: &Value| {
        let mut runners = state["runners"].as_array().unwrap().iter();
        runners.find(|runner| runner["name"] == gone.as_str()).unwrap()["id"].clone()
    };
    let id = id(&site.github.get("state").await);
    site.github.post(&format!("runners/{id}/remove"), &json!({})).await;
    site.until(&["runners"], |runners| !names(runners, "online").contains(&gone));
    until_full(&site);
    assert!(
        site.json(&["explain", "e2e"])["sentence"].as_str().unwrap().contains("5 idle, 0 busy")
    );
    site.end_clean().await;
}

#[tokio::test]
async fn a_flush_replaces_those_that_are_free() {
    let mut site = Site::new(setup()).await;
    site.start();
    let first = until_full(&site);
    site.github.queue("acme/site", Some("sleep 600"), 1).await;
    let busy = site.until(&["runners"], |runners| names(runners, "busy").len() == 1);
    let busy = names(&busy, "busy");
    site.json(&["flush", "e2e"]);
    let replaced = |runners: &Value| {
        names(runners, "online").len() == KEPT - 1
            && names(runners, "online").is_disjoint(&first)
            && names(runners, "busy") == busy
    };
    site.until(&["runners"], replaced);
    assert_eq!(site.github.jobs("running").await, 1, "the job runs on");
    site.json(&["flush", "e2e", "--busy"]);
    let of_it = |runners: &Value| {
        let mut rows = runners.as_array().unwrap().iter();
        rows.find(|row| busy.contains(row["name"].as_str().unwrap())).cloned()
    };
    site.until(&["runners"], |runners| of_it(runners).is_none_or(|row| row["instance"] == "gone"));
    // GitHub keeps the registration until it gives up on the job; here it does so now.
    let job = site.github.get("state").await["jobs"][0]["id"].clone();
    site.github.post(&format!("jobs/{job}/complete"), &json!({ "conclusion": "failure" })).await;
    until_full(&site);
    site.end_clean().await;
}
