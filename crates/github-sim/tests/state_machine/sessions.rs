//! Sessions: one at a time, expiry, eviction, refresh.

use serde_json::{Value, json};

use crate::driver::{Driver, session_of};

#[test]
fn there_is_one_session_until_it_ends() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let path = format!("/runnerscalesets/{set}/sessions");
    let session = driver.session(set);
    assert_eq!(driver.service("POST", &path, &json!({ "ownerName": "b" })).status, 409);
    driver.service("DELETE", &format!("{path}/{}", session.id), &Value::Null).ok(204);
    assert_eq!(
        driver.service("DELETE", &format!("{path}/{}", session.id), &Value::Null).status,
        400
    );
    driver.session(set);
}

#[test]
fn a_session_without_polls_expires_and_a_held_poll_keeps_it() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let path = format!("/runnerscalesets/{set}/sessions");
    let session = driver.session(set);
    for _ in 0..8 {
        let hold = driver.poll(&session, 0, 1).unwrap_err();
        driver.pass(50);
        assert_eq!(driver.held(hold).unwrap().status, 202);
    }
    driver.pass(299);
    assert_eq!(driver.service("POST", &path, &json!({ "ownerName": "b" })).status, 409);
    driver.pass(2);
    let got = driver.service("PATCH", &format!("{path}/{}", session.id), &Value::Null);
    assert_eq!(got.status, 400);
    assert!(got.body["typeName"].as_str().unwrap().contains("SessionExpiredException"));
    assert_eq!(driver.poll(&session, 0, 1).unwrap().status, 404);
    driver.session(set);
}

#[test]
fn an_evicted_session_ends_the_poll_and_is_told_apart() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let hold = driver.poll(&session, 0, 1).unwrap_err();
    driver.control(&format!("sets/{set}/evict"), Value::Null);
    assert_eq!(driver.sim.take_woken(), [hold]);
    assert_eq!(driver.held(hold).unwrap().status, 404);
    let got = driver.service(
        "PATCH",
        &format!("/runnerscalesets/{set}/sessions/{}", session.id),
        &Value::Null,
    );
    assert_eq!(got.status, 404);
    assert!(got.body["typeName"].as_str().unwrap().contains("RunnerAdminException"));
    driver.session(set);
}

#[test]
fn a_refresh_gives_a_new_token_and_fresh_statistics() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["linux"], 4);
    let fresh = driver
        .service("PATCH", &format!("/runnerscalesets/{set}/sessions/{}", session.id), &Value::Null)
        .ok(200);
    let fresh = session_of(set, &fresh);
    assert_eq!(fresh.id, session.id);
    assert_ne!(fresh.token, session.token);
    assert_eq!(fresh.statistics["totalAvailableJobs"], 4);
    let message = driver.poll(&fresh, 0, 1).unwrap().ok(200);
    assert_eq!(message["messageId"], 100_000_001);
}

#[test]
fn a_newer_poll_replaces_the_older_one() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let old = driver.poll(&session, 0, 1).unwrap_err();
    let new = driver.poll(&session, 0, 1).unwrap_err();
    assert_eq!(driver.held(old).unwrap().status, 202);
    driver.queue(&["linux"], 1);
    assert_eq!(driver.held(new).unwrap().status, 200);
}

#[test]
fn a_set_that_vanishes_takes_its_session_and_gives_its_jobs_back() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let job = driver.queue(&["linux"], 1)[0];
    driver.poll(&session, 0, 1).unwrap().ok(200);
    driver.mint(set, "idle");
    driver.control(&format!("sets/{set}/delete"), Value::Null);
    assert_eq!(driver.poll(&session, 0, 1).unwrap().status, 404);
    assert_eq!(driver.service("GET", &format!("/runnerscalesets/{set}"), &Value::Null).status, 404);
    assert_eq!(driver.job(job)["phase"], "waiting");
    assert_eq!(driver.look("summary")["runners"]["total"], 0);
    // Under the same name it is another set, which gets the job.
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.poll(&session, 0, 1).unwrap().ok(200);
    assert_eq!(driver.job(job)["phase"], "assigned");
}
