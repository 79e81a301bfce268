//! The same seed and calls give the same bytes; cost does not grow with what there is.

use std::time::Instant;

use serde_json::{Value, json};

use crate::driver::Driver;

/// A day in the life; returns everything that was answered.
fn story() -> String {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let mut told = format!("{}{}{}", driver.pat, session.id, session.token);
    driver.control("faults", json!({ "route": "agents.*", "action": { "do": "status", "status": 500 }, "probability": 0.4 }));
    let mut cursor = 0;
    for round in 0..20 {
        driver.queue(&["linux"], round);
        while let Ok(got) = driver.poll(&session, cursor, 500) {
            let message = got.ok(200);
            cursor = message["messageId"].as_i64().unwrap();
            told.push_str(&message.to_string());
        }
        let mut runner = driver.mint(set, &format!("r{round}"));
        driver.connect(&mut runner);
        told.push_str(&runner.token);
        if round > 0 {
            let job = driver.take(&runner);
            driver.complete(&runner, &job, ["succeeded", "failed"][round % 2]);
        }
        let got = driver.service(
            "GET",
            &format!("{}/{}", crate::driver::AGENTS, runner.id),
            &Value::Null,
        );
        told.push_str(&String::from_utf8_lossy(&got.bytes));
        driver.pass(37);
    }
    told.push_str(&driver.look("state").to_string());
    told.push_str(&driver.look("journal").to_string());
    told
}

#[test]
fn the_same_seed_and_calls_give_the_same_bytes() {
    let (first, second) = (story(), story());
    assert!(first.len() > 50_000);
    assert!(first == second, "two runs differ");
}

/// Queues, assigns, mints, runs and completes this many jobs; returns the seconds it took.
#[expect(
    clippy::disallowed_methods,
    reason = "this measures the machine's time, not the simulation's"
)]
fn serve(jobs: usize) -> f64 {
    let mut driver = Driver::new();
    driver.control("options", json!({ "core_limit": 1_000_000 }));
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let begin = Instant::now();
    driver.queue(&["linux"], jobs);
    let mut cursor = 0;
    while let Ok(got) = driver.poll(&session, cursor, 1_000_000) {
        cursor = got.ok(200)["messageId"].as_i64().unwrap();
        driver.acknowledge(&session, cursor).ok(204);
    }
    // All runners are there at once, and all jobs run at once. Signing is left out: it is the client's cost.
    let body = json!({ "name": "x", "workFolder": "" });
    for index in 0..jobs {
        let mut body = body.clone();
        body["name"] = format!("r{index}").into();
        driver.service("POST", &format!("/runnerscalesets/{set}/generatejitconfig"), &body).ok(200);
        driver
            .rest("GET", &format!("/orgs/acme/actions/runners?name=r{index}"), &Value::Null)
            .ok(200);
    }
    assert_eq!(driver.look("summary")["jobs"]["assigned"], jobs);
    for job in driver.look("state")["jobs"].as_array().unwrap() {
        driver.control(&format!("jobs/{}/cancel", job["id"]), Value::Null);
    }
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(driver.look("summary")["jobs"]["cancelled"], jobs);
    seconds
}

#[test]
fn ten_thousand_jobs_cost_what_they_should() {
    let small = serve(1_000);
    let large = serve(10_000);
    // Linear is 10; a scan per request would be 100. The machine may be busy: the limit lies between.
    println!("1,000 jobs: {small:.2} s, 10,000 jobs: {large:.2} s");
    assert!(large / small < 40.0, "1,000 jobs took {small:.2} s, 10,000 took {large:.2} s");
}
