//! A pool with two backends: what one can't make the other one makes.

use serde_json::{Value, json};

use crate::site::{First, Setup, Site};

/// How many runners on a backend are in a phase.
fn count(runners: &Value, backend: &str, phase: &str) -> usize {
    let rows = runners.as_array().unwrap().iter();
    rows.filter(|runner| runner["backend"] == backend && runner["phase"] == phase).count()
}

#[tokio::test]
async fn what_a_budget_has_no_room_for_is_made_on_the_other_backend() {
    let first = Some(First::Limited(2));
    let mut site = Site::new(Setup { first, max: 5, ..Setup::default() }).await;
    site.start_and_wait();
    let go = site.path("go");
    let waits = format!("until test -e '{}'; do sleep 0.1; done", go.display());
    site.github.queue("acme/site", Some(&waits), 7).await;
    let at_work =
        |runners: &Value| count(runners, "first", "busy") == 2 && count(runners, "it", "busy") == 3;
    site.until(&["runners"], at_work);
    let status = site.json(&["status"]);
    let backends = status["backends"].as_array().unwrap();
    let first = backends.iter().find(|backend| backend["name"] == "first").unwrap();
    assert_eq!((&first["runners"], &first["budget"]), (&json!(2), &json!("2 of 2 runners")));
    assert_eq!(first["breaker"], "closed");
    let table = site.run(&["status"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("2 of 2 runners"), "{table}");
    std::fs::write(go, "").unwrap();
    site.github.until_jobs("success", 7).await;
    site.end_clean().await;
}

#[tokio::test]
async fn what_the_first_backend_refuses_the_second_makes() {
    let first = Some(First::Bare);
    let mut site = Site::new(Setup { first, max: 2, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("true"), 4).await;
    site.github.until_jobs("success", 4).await;
    let told = std::fs::read_to_string(site.path("events.jsonl")).unwrap();
    assert!(told.contains("nothing-here"), "the first backend was asked, and refused: {told}");
    // `check` tries each backend with what is made there.
    let checked = site.run(&["check", "--config", site.path("dayfly.yaml").to_str().unwrap()]);
    let checked = String::from_utf8(checked.stdout).unwrap();
    let of = |backend: &str, result: &str| {
        let what = format!("backend {backend}, pool e2e");
        checked.lines().any(|line| line.starts_with(result) && line.contains(&what))
    };
    assert!(of("first", "WRONG") && of("it", "ok") && !of("it", "WRONG"), "{checked}");
    site.end_clean().await;
}

#[tokio::test]
async fn jobs_run_while_the_first_backend_hangs() {
    let first = Some(First::Hanging);
    let mut site = Site::new(Setup { first, max: 3, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("true"), 5).await;
    site.github.until_jobs("success", 5).await;
    site.end_clean().await;
}
