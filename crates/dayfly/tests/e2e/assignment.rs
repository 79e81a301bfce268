//! Both assignment modes, token and App, organisation and repository: the same run.

use crate::site::{Setup, Site};

/// Jobs of a run: more than `max`, so that runners follow each other.
const JOBS: usize = 6;

async fn check(assignment: &'static str, app: bool, scope: &'static str) {
    let mut site = Site::new(Setup { scope, app, assignment, max: 3, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("test -n \"$GITHUB_RUN_ID\""), JOBS).await;
    site.github.until_jobs("success", JOBS).await;
    let state = site.github.get("state").await;
    let mut runners: Vec<&str> = state["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["runner_name"].as_str().unwrap())
        .collect();
    runners.sort_unstable();
    runners.dedup();
    assert_eq!(runners.len(), JOBS, "each job had a runner of its own");
    site.end_clean().await;
}

#[tokio::test]
async fn given_by_github_token_organisation() {
    check("auto", false, "acme").await;
}

#[tokio::test]
async fn given_by_github_token_repository() {
    check("auto", false, "acme/site").await;
}

#[tokio::test]
async fn given_by_github_app_organisation() {
    check("auto", true, "acme").await;
}

#[tokio::test]
async fn given_by_github_app_repository() {
    check("auto", true, "acme/site").await;
}

#[tokio::test]
async fn acquired_by_us_token_organisation() {
    check("acquire", false, "acme").await;
}

#[tokio::test]
async fn acquired_by_us_token_repository() {
    check("acquire", false, "acme/site").await;
}

#[tokio::test]
async fn acquired_by_us_app_organisation() {
    check("acquire", true, "acme").await;
}

#[tokio::test]
async fn acquired_by_us_app_repository() {
    check("acquire", true, "acme/site").await;
}
