//! A pool that is kept full: as many idle runners as it keeps, whatever passes through it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

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

/// How long fewer than the kept runners were online at most, while `during` holds.
#[expect(clippy::disallowed_methods, reason = "how long a pool is not full is measured")]
async fn longest_gap(site: &Site, during: impl AsyncFn(&Site) -> bool) -> Duration {
    let (mut since, mut longest) = (None, Duration::ZERO);
    while during(site).await || since.is_some() {
        let online = site.github.get("summary").await["runners"]["online"].as_u64().unwrap();
        if online >= KEPT as u64 {
            since = None;
        } else {
            let since = *since.get_or_insert_with(Instant::now);
            longest = longest.max(since.elapsed());
            assert!(longest < Duration::from_secs(60), "{online} runners online for a minute");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    longest
}

/// GitHub removes idle runners here after 4 s; `DAYFLY_IDLE_REMOVAL_S=120` makes it the 2 minutes that were seen at GitHub.
#[tokio::test]
async fn it_is_full_again_within_ten_seconds() {
    const JOBS: usize = 50;
    let seconds = std::env::var("DAYFLY_IDLE_REMOVAL_S").map_or(4, |text| text.parse().unwrap());
    let mut site = Site::new(setup()).await;
    site.github.post("options", &json!({ "idle_removal_ms": 1_000 * seconds })).await;
    site.start();
    until_full(&site);
    // Some jobs at a time, so that others idle meanwhile.
    for wave in 1..=JOBS / 5 {
        site.github.queue("acme/site", Some("sleep 0.5"), 5).await;
        let passing = async |site: &Site| site.github.jobs("success").await < 5 * wave as u64;
        let gap = longest_gap(&site, passing).await;
        assert!(gap < Duration::from_secs(10), "wave {wave}: not full for {gap:?}");
    }
    // Nothing to do: all of them are removed for idling, and replaced.
    let idle = names(&site.json(&["runners"]), "online");
    let still = async |site: &Site| {
        let runners = site.json(&["runners"]);
        idle.iter().any(|name| names(&runners, "online").contains(name))
    };
    let gap = longest_gap(&site, still).await;
    assert!(gap < Duration::from_secs(10), "not full for {gap:?} after removals");
    eprintln!(
        "after runners that idled for {seconds} s were removed, the pool was full again within {gap:?}"
    );
    site.end_clean().await;
}

#[tokio::test]
async fn of_fewer_the_oldest_go_and_a_busy_one_survives_other_labels() {
    let mut site = Site::new(setup()).await;
    site.start();
    let first = until_full(&site);
    site.github.queue("acme/site", Some("true"), 2).await;
    site.github.until_jobs("success", 2).await;
    let second = until_full(&site);
    let newer: BTreeSet<String> = second.difference(&first).cloned().collect();
    assert_eq!(newer.len(), 2);
    site.stop();
    site.reconfigure("min_idle: 5", "min_idle: 2");
    site.reconfigure("max: 5", "max: 2");
    site.start();
    let left = |runners: &Value| {
        names(runners, "online") == newer && runners.as_array().unwrap().len() == newer.len()
    };
    site.until(&["runners"], left);

    site.github.queue("acme/site", Some("sleep 600"), 1).await;
    let busy = site.until(&["runners"], |runners| names(runners, "busy").len() == 1);
    let busy = names(&busy, "busy");
    let idle: BTreeSet<String> = newer.difference(&busy).cloned().collect();
    site.stop();
    site.reconfigure("labels: [e2e]", "labels: [e2e, more]");
    site.start();
    let replaced = |runners: &Value| {
        let online = names(runners, "online");
        online.len() == 1 && online.is_disjoint(&idle) && names(runners, "busy") == busy
    };
    site.until(&["runners"], replaced);
    let state = site.github.get("state").await;
    let runners = state["runners"].as_array().unwrap();
    let relabelled = runners.iter().filter(|one| one["labels"].to_string().contains("\"more\""));
    assert_eq!(relabelled.count(), 1, "{runners:?}");
    assert_eq!(site.github.jobs("running").await, 1, "the job runs on");
    let job = state["jobs"].as_array().unwrap().last().unwrap()["id"].clone();
    site.github.post(&format!("jobs/{job}/cancel"), &json!({})).await;
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
