//! The runners' side: configurations work once and go stale, idle runners are removed, runners vanish.

use dayfly_github_sim::Options;
use serde_json::{Value, json};

use crate::driver::{AGENTS, Driver, runner_of};

#[test]
fn a_configuration_works_once() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["linux"], 1);
    driver.poll(&session, 0, 1).unwrap().ok(200);
    let mut runner = driver.mint(set, "r");
    driver.connect(&mut runner);
    // A second program with the same configuration may sign in, but the session is taken.
    runner.token =
        driver.runner_token(&runner).ok(200)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(driver.runner_call(&runner, "POST", "/broker/session", &json!({})).status, 409);
    let job = driver.take(&runner);
    assert_eq!(
        driver
            .runner_call(
                &runner,
                "POST",
                "/run-service/acquirejob",
                &json!({ "jobMessageId": job })
            )
            .status,
        409
    );
    driver.complete(&runner, &job, "succeeded");
    let again = driver.runner_token(&runner);
    assert_eq!((again.status, &again.body["error"]), (400, &json!("invalid_client")));
    let gone = driver.runner_call(&runner, "POST", "/broker/session", &json!({}));
    assert_eq!((gone.status, &gone.body["errorKind"]), (404, &json!("RunnerNotFound")));
}

#[test]
fn a_configuration_goes_stale_before_its_registration_is_swept() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let (mut early, late) = (driver.mint(set, "early"), driver.mint(set, "late"));
    driver.connect(&mut early);
    driver.pass(3600);
    assert_eq!(driver.runner_token(&late).body["error"], "invalid_client");
    driver.runner_token(&early).ok(200);
    driver.service("GET", &format!("{AGENTS}/{}", late.id), &Value::Null);
    driver.pass(23 * 3600 - 1);
    driver.sign_in("acme");
    driver.service("GET", &format!("{AGENTS}/{}", late.id), &Value::Null).ok(200);
    driver.pass(1);
    assert_eq!(driver.service("GET", &format!("{AGENTS}/{}", late.id), &Value::Null).status, 404);
    driver.service("GET", &format!("{AGENTS}/{}", early.id), &Value::Null).ok(200);
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let first = driver.mint(set, "first");
    // The next runner has another of the reused keys.
    let mut second = driver.mint(set, "second");
    second.client.clone_from(&first.client);
    assert_eq!(driver.runner_token(&second).body["error"], "invalid_client");
    driver.runner_token(&first).ok(200);
}

#[test]
fn an_idle_runner_is_removed_after_a_while() {
    let mut driver = Driver::with(Options { idle_removal_ms: Some(120_000), ..Options::default() });
    let set = driver.set("one", &["linux"]);
    let mut runner = driver.mint(set, "r");
    driver.connect(&mut runner);
    let mut hold = driver.runner_poll(&runner).unwrap_err();
    for _ in 0..2 {
        driver.pass(50);
        assert_eq!(driver.held(hold).unwrap().status, 202);
        hold = driver.runner_poll(&runner).unwrap_err();
    }
    driver.pass(20);
    let told = driver.held(hold).unwrap();
    assert_eq!((told.status, &told.body["errorKind"]), (404, &json!("RunnerNotFound")));
    assert_eq!(driver.look("summary")["runners"]["total"], 0);
}

#[test]
fn a_silent_runner_is_shown_offline_and_gives_an_unaccepted_job_back() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let mut runner = driver.mint(set, "r");
    driver.connect(&mut runner);
    let hold = driver.runner_poll(&runner).unwrap_err();
    let job = driver.queue(&["linux"], 1)[0];
    driver.poll(&session, 0, 1).unwrap().ok(200);
    driver.held(hold).unwrap().ok(200);
    assert_eq!(driver.job(job)["phase"], "offered");
    driver.pass(61);
    assert_eq!(driver.job(job)["phase"], "assigned");
    let shown = driver
        .rest("GET", &format!("/orgs/acme/actions/runners/{}", runner.id), &Value::Null)
        .ok(200);
    assert_eq!((&shown["status"], &shown["busy"]), (&json!("offline"), &json!(false)));
    // It comes back with the same session, and gets the job again.
    driver.take(&runner);
    assert_eq!(driver.job(job)["phase"], "running");
}

#[test]
fn an_interrupted_runner_leaves_its_job_to_others() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let (mut first, mut second) = (driver.mint(set, "first"), driver.mint(set, "second"));
    driver.connect(&mut first);
    driver.connect(&mut second);
    let hold = driver.runner_poll(&first).unwrap_err();
    let job = driver.queue(&["linux"], 1)[0];
    driver.poll(&session, 0, 1).unwrap().ok(200);
    driver.held(hold).unwrap().ok(200);
    let waiting = driver.runner_poll(&second).unwrap_err();
    driver.runner_call(&first, "DELETE", "/broker/session", &Value::Null).ok(204);
    driver.held(waiting).unwrap().ok(200);
    assert_eq!(driver.job(job)["phase"], "offered");
    // It may connect again: a registration ends with a job or a removal, not with a session.
    driver.connect(&mut first);
}

#[test]
fn a_runner_outside_sets_takes_what_its_labels_allow() {
    let mut driver = Driver::new();
    let body = json!({ "name": "plain", "runner_group_id": 1, "labels": ["self-hosted", "Linux"] });
    let made = driver.rest("POST", "/orgs/acme/actions/runners/generate-jitconfig", &body).ok(201);
    let mut runner = runner_of(made["encoded_jit_config"].as_str().unwrap());
    driver.connect(&mut runner);
    let hold = driver.runner_poll(&runner).unwrap_err();
    driver.queue(&["gpu"], 1);
    assert!(driver.held(hold).is_none());
    let job = driver.queue(&["linux", "SELF-HOSTED"], 1)[0];
    driver.held(hold).unwrap().ok(200);
    let id = driver.take(&runner);
    let path = format!("/orgs/acme/actions/runners/{}", runner.id);
    let refused = driver.rest("DELETE", &path, &Value::Null);
    assert_eq!(refused.status, 422);
    assert!(
        refused.body["message"]
            .as_str()
            .unwrap()
            .contains("currently running a job and cannot be deleted")
    );
    driver.complete(&runner, &id, "succeeded");
    assert_eq!(driver.job(job)["conclusion"], "success");
    assert_eq!(driver.rest("DELETE", &path, &Value::Null).status, 404);
    // One that connects later finds what waits.
    let waiting = driver.queue(&["linux"], 1)[0];
    let body = json!({ "name": "plain", "runner_group_id": 1, "labels": ["linux"] });
    let made = driver.rest("POST", "/orgs/acme/actions/runners/generate-jitconfig", &body).ok(201);
    let mut runner = runner_of(made["encoded_jit_config"].as_str().unwrap());
    driver.connect(&mut runner);
    driver.take(&runner);
    assert_eq!(driver.job(waiting)["phase"], "running");
}

#[test]
fn a_lost_poll_loses_no_job() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let mut runner = driver.mint(set, "r");
    driver.connect(&mut runner);
    let hold = driver.runner_poll(&runner).unwrap_err();
    driver.sim.abandon(driver.now, hold);
    let job = driver.queue(&["linux"], 1)[0];
    driver.poll(&session, 0, 1).unwrap().ok(200);
    assert_eq!(driver.job(job)["phase"], "assigned", "nobody is there to take it");
    // The answer with the job is lost: the next poll gives it again.
    driver.runner_poll(&runner).unwrap().ok(200);
    driver.take(&runner);
    assert_eq!(driver.job(job)["phase"], "running");
}
