//! A job's life on the server's side: reassignment, cancellation, lost runners, reruns.

use serde_json::{Value, json};

use crate::driver::{Driver, Session, kinds, statistics};

struct Scene {
    driver: Driver,
    session: Session,
    set: i64,
    job: i64,
    cursor: i64,
}

/// One set, one session, one job assigned to it.
fn assigned() -> Scene {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let job = driver.queue(&["linux"], 1)[0];
    let cursor = driver.poll(&session, 0, 3).unwrap().ok(200)["messageId"].as_i64().unwrap();
    Scene { driver, session, set, job, cursor }
}

impl Scene {
    /// The next message's entries, if there is one at once.
    fn next(&mut self) -> Vec<String> {
        match self.driver.poll(&self.session, self.cursor, 3) {
            Ok(got) => {
                let message = got.ok(200);
                self.cursor = message["messageId"].as_i64().unwrap();
                kinds(&message)
            }
            Err(hold) => {
                self.driver.sim.abandon(self.driver.now, hold);
                Vec::new()
            }
        }
    }

    /// Keeps the session alive while time passes.
    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.driver.pass(1);
            let session = format!("/runnerscalesets/{}/sessions/{}", self.set, self.session.id);
            if self.driver.now.as_second() % 60 == 0 {
                self.driver.service("PATCH", &session, &Value::Null).ok(200);
            }
        }
    }
}

#[test]
fn an_assigned_job_without_a_runner_comes_again_and_then_fails() {
    let mut scene = assigned();
    scene.pass(299);
    assert_eq!(scene.next(), [""; 0]);
    scene.pass(1);
    assert_eq!(scene.next(), ["Completed(canceled)", "Assigned"]);
    scene.pass(300);
    assert_eq!(scene.next(), ["Completed(canceled)", "Assigned"]);
    assert_eq!(scene.driver.job(scene.job)["rounds"], 3);
    scene.pass(300);
    assert_eq!(scene.next(), ["Completed(failed)"]);
    let job = scene.driver.job(scene.job);
    assert_eq!((&job["conclusion"], job["runner_name"].is_null()), (&json!("failure"), true));
    assert!(job["log"].as_str().unwrap().contains("even after multiple attempts"));
}

#[test]
fn a_runner_in_time_ends_the_rounds() {
    let mut scene = assigned();
    scene.pass(300);
    scene.next();
    let mut runner = scene.driver.mint(scene.set, "r");
    scene.driver.connect(&mut runner);
    let job = scene.driver.take(&runner);
    scene.pass(500);
    assert_eq!(scene.next(), ["Started"]);
    scene.driver.complete(&runner, &job, "succeeded");
    assert_eq!(scene.next(), ["Completed(succeeded)"]);
    assert_eq!(scene.driver.job(scene.job)["conclusion"], "success");
}

#[test]
fn a_cancelled_job_is_told_at_once_while_no_runner_has_it() {
    let mut scene = assigned();
    scene.driver.control(&format!("jobs/{}/cancel", scene.job), Value::Null);
    assert_eq!(scene.next(), ["Completed(canceled)"]);
    assert_eq!(scene.driver.job(scene.job)["conclusion"], "cancelled");
    // Before it was assigned nobody hears of it.
    let job = scene.driver.queue(&["nobody"], 1)[0];
    scene.driver.control(&format!("jobs/{job}/cancel"), Value::Null);
    assert_eq!(scene.driver.job(job)["conclusion"], "cancelled");
    assert_eq!(scene.next(), [""; 0]);
}

#[test]
fn a_running_job_is_cancelled_by_its_runner_or_after_the_grace() {
    for answers in [true, false] {
        let mut scene = assigned();
        let mut runner = scene.driver.mint(scene.set, "r");
        scene.driver.connect(&mut runner);
        let job = scene.driver.take(&runner);
        assert_eq!(scene.next(), ["Started"]);
        let hold = scene.driver.runner_poll(&runner).unwrap_err();
        scene.driver.control(&format!("jobs/{}/cancel", scene.job), Value::Null);
        let message = scene.driver.held(hold).unwrap().ok(200);
        assert_eq!(message["messageType"], "JobCancellation");
        assert!(scene.driver.runner_poll(&runner).is_err(), "it is told once");
        assert_eq!(scene.next(), [""; 0]);
        if answers {
            scene.driver.complete(&runner, &job, "canceled");
        } else {
            scene.pass(300);
        }
        assert_eq!(scene.next(), ["Completed(canceled)"]);
        assert_eq!(scene.driver.job(scene.job)["conclusion"], "cancelled");
        assert_eq!(scene.driver.look("summary")["runners"]["total"], 0);
    }
}

#[test]
fn a_lost_runner_fails_its_job_when_the_lock_expires() {
    let mut scene = assigned();
    let mut runner = scene.driver.mint(scene.set, "r");
    scene.driver.connect(&mut runner);
    let job = scene.driver.take(&runner);
    assert_eq!(scene.next(), ["Started"]);
    scene.pass(590);
    scene
        .driver
        .runner_call(&runner, "POST", "/run-service/renewjob", &json!({ "jobID": job }))
        .ok(200);
    scene.pass(590);
    assert_eq!(scene.driver.job(scene.job)["status"], "in_progress");
    scene.pass(20);
    assert_eq!(scene.next(), ["Completed(failed)"]);
    assert!(scene.driver.job(scene.job)["log"].as_str().unwrap().contains("lost communication"));
    assert_eq!(scene.driver.look("summary")["runners"]["total"], 0);
}

#[test]
fn a_job_that_nobody_takes_is_cancelled_after_a_day() {
    let mut driver = Driver::new();
    let job = driver.queue(&["nobody"], 1)[0];
    driver.pass(24 * 3600 - 1);
    assert_eq!(driver.job(job)["status"], "queued");
    driver.pass(1);
    assert_eq!(driver.job(job)["conclusion"], "cancelled");
}

#[test]
fn github_may_end_a_job_that_its_runner_still_works_on() {
    let mut scene = assigned();
    let mut runner = scene.driver.mint(scene.set, "r");
    scene.driver.connect(&mut runner);
    let job = scene.driver.take(&runner);
    scene
        .driver
        .control(&format!("jobs/{}/complete", scene.job), json!({ "conclusion": "cancelled" }));
    assert_eq!(scene.next(), ["Started", "Completed(canceled)"]);
    let path = format!("{}/{}", crate::driver::AGENTS, runner.id);
    let busy = scene.driver.service("DELETE", &path, &Value::Null);
    assert_eq!(busy.status, 400);
    assert!(busy.body["typeName"].as_str().unwrap().contains("JobStillRunningException"));
    scene.driver.complete(&runner, &job, "succeeded");
    assert_eq!(scene.driver.service("GET", &path, &Value::Null).status, 404);
    assert_eq!(scene.driver.job(scene.job)["conclusion"], "cancelled", "the first end stands");
}

#[test]
fn any_idle_runner_of_the_set_takes_any_job() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let mut runners: Vec<_> = (0..3).map(|index| driver.mint(set, &format!("r{index}"))).collect();
    let mut holds = Vec::new();
    for runner in &mut runners {
        driver.connect(runner);
        holds.push(driver.runner_poll(runner).unwrap_err());
    }
    let idle = driver.service("GET", &format!("/runnerscalesets/{set}"), &Value::Null).ok(200);
    assert_eq!(statistics(&idle["statistics"]), [0, 0, 0, 0, 3, 0, 3]);
    driver.queue(&["linux"], 2);
    let told = driver.poll(&session, 0, 5).unwrap().ok(200);
    assert_eq!(statistics(&told["statistics"]), [0, 2, 2, 0, 3, 2, 1]);
    let served: Vec<bool> = holds.iter().map(|hold| driver.held(*hold).is_some()).collect();
    assert_eq!(served.iter().filter(|served| **served).count(), 2);
    // A runner that does not accept its job gives it to the one that is left.
    driver.pass(60);
    let left = served.iter().position(|served| !served).unwrap();
    let hold = holds[left];
    let message = driver.held(hold).map(|got| got.status);
    assert!(matches!(message, Some(200 | 202)), "{message:?}");
}

#[test]
fn reruns_have_new_jobs_and_keep_the_good_ones() {
    let mut scene = assigned();
    let second = scene
        .driver
        .control("jobs", json!({ "scope": "acme/app", "labels": ["linux"], "count": 2 }));
    let run = second["run_ids"][0].as_i64().unwrap();
    let jobs: Vec<i64> =
        second["job_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
    assert_eq!(scene.next(), ["Assigned", "Assigned"]);
    let early = scene.driver.rest(
        "POST",
        &format!("/repos/acme/app/actions/runs/{run}/rerun-failed-jobs"),
        &Value::Null,
    );
    assert_eq!(early.status, 403, "it is not over");
    let mut ended = Vec::new();
    for (name, conclusion) in [("r0", "succeeded"), ("r1", "succeeded"), ("r2", "failed")] {
        let mut runner = scene.driver.mint(scene.set, name);
        scene.driver.connect(&mut runner);
        let job = scene.driver.take(&runner);
        scene.driver.complete(&runner, &job, conclusion);
        ended.push(job);
    }
    let run_path = format!("/repos/acme/app/actions/runs/{run}");
    assert_eq!(scene.driver.rest("GET", &run_path, &Value::Null).ok(200)["conclusion"], "failure");
    assert_eq!(scene.driver.rest("POST", &format!("{run_path}/cancel"), &Value::Null).status, 409);
    scene.driver.rest("POST", &format!("{run_path}/rerun-failed-jobs"), &Value::Null).ok(201);
    let seen = scene.driver.rest("GET", &run_path, &Value::Null).ok(200);
    assert_eq!(
        (&seen["run_attempt"], &seen["status"], &seen["conclusion"]),
        (&json!(2), &json!("in_progress"), &Value::Null)
    );
    let latest = scene.driver.rest("GET", &format!("{run_path}/jobs"), &Value::Null).ok(200);
    let ids: Vec<i64> =
        latest["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], jobs[0], "the good one is kept");
    assert!(!jobs.contains(&ids[1]), "the failed one is a new job");
    let all =
        scene.driver.rest("GET", &format!("{run_path}/jobs?filter=all"), &Value::Null).ok(200);
    assert_eq!(all["total_count"], 3);
    let attempt =
        scene.driver.rest("GET", &format!("{run_path}/attempts/2/jobs"), &Value::Null).ok(200);
    assert_eq!((&attempt["total_count"], &attempt["jobs"][0]["id"]), (&json!(1), &json!(ids[1])));
    // The set hears of it like of any other job.
    let heard = scene.next();
    assert!(heard.ends_with(&["Assigned".to_owned()]), "{heard:?}");
    assert_ne!(scene.driver.job(ids[1])["uuid"], scene.driver.job(jobs[1])["uuid"]);
}
