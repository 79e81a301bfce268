//! The message queue: capacity, batches, wake-ups, replay, acquisition.

use serde_json::{Value, json};

use crate::driver::{Driver, entries, kinds, statistics};

#[test]
fn a_message_has_the_form_that_clients_know() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["Linux"], 1);
    let message = driver.poll(&session, 0, 1).unwrap().ok(200);
    assert_eq!(message["messageId"], 100_000_001);
    assert_eq!(message["messageType"], "RunnerScaleSetJobMessages");
    let entry = &entries(&message)[0];
    assert_eq!(entry["messageType"], "JobAssigned");
    assert_eq!((&entry["ownerName"], &entry["repositoryName"]), (&json!("acme"), &json!("app")));
    assert_eq!(
        (&entry["runnerRequestId"], &entry["requestLabels"]),
        (&json!(0), &json!(["Linux"]))
    );
    assert_eq!(entry["finishTime"], "0001-01-01T00:00:00Z");
    assert_eq!(entry["queueTime"], "2026-01-01T00:00:00Z");
    assert!(uuid::Uuid::parse_str(entry["jobId"].as_str().unwrap()).is_ok());
}

/// Jobs queued, then polls of sets with these capacities, in order: how many are assigned to each, and how many wait.
#[track_caller]
fn check_capacity(jobs: usize, capacities: &[i64], assigned: &[i64], waiting: i64) {
    let mut driver = Driver::new();
    let sessions: Vec<_> = (0..capacities.len())
        .map(|index| {
            let set = driver.set(&format!("set-{index}"), &["linux", "extra"]);
            driver.session(set)
        })
        .collect();
    driver.queue(&["linux"], jobs);
    for (session, capacity) in sessions.iter().zip(capacities) {
        let mut cursor = 0;
        while let Ok(got) = driver.poll(session, cursor, *capacity) {
            cursor = got.ok(200)["messageId"].as_i64().unwrap();
        }
    }
    let got: Vec<[i64; 7]> = sessions
        .iter()
        .map(|session| {
            let set = driver
                .service("GET", &format!("/runnerscalesets/{}", session.set), &Value::Null)
                .ok(200);
            statistics(&set["statistics"])
        })
        .collect();
    assert_eq!(
        got.iter().map(|all| all[2]).collect::<Vec<_>>(),
        assigned,
        "{jobs} jobs, capacities {capacities:?}"
    );
    assert!(got.iter().all(|all| all[0] == waiting), "{got:?}");
}

#[test]
fn capacity_bounds_what_is_assigned() {
    check_capacity(3, &[0], &[0], 3);
    check_capacity(3, &[2], &[2], 1);
    check_capacity(3, &[5], &[3], 0);
    check_capacity(4, &[1, 5], &[1, 3], 0);
    check_capacity(120, &[200], &[120], 0);
    check_capacity(0, &[5], &[0], 0);
}

#[test]
fn capacity_is_a_total_and_is_never_taken_back() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["linux"], 5);
    let first = driver.poll(&session, 0, 3).unwrap().ok(200);
    assert_eq!(statistics(&first["statistics"])[2], 3);
    let cursor = first["messageId"].as_i64().unwrap();
    let hold =
        driver.poll(&session, cursor, 0).expect_err("nothing is taken back, nothing new is given");
    driver.sim.abandon(driver.now, hold);
    let mut runner = driver.mint(set, "r1");
    driver.connect(&mut runner);
    let job = driver.take(&runner);
    // One runs, two are assigned: with a total of 3 there is no room, with 4 for one more.
    let started = driver.poll(&session, cursor, 3).unwrap().ok(200);
    assert_eq!(kinds(&started), ["Started"]);
    let cursor = started["messageId"].as_i64().unwrap();
    let raised = driver.poll(&session, cursor, 4).unwrap().ok(200);
    assert_eq!(
        (kinds(&raised), statistics(&raised["statistics"])),
        (vec!["Assigned".to_owned()], [1, 3, 4, 1, 1, 1, 0])
    );
    // A completed job makes room.
    driver.complete(&runner, &job, "succeeded");
    let cursor = raised["messageId"].as_i64().unwrap();
    let ended = driver.poll(&session, cursor, 4).unwrap().ok(200);
    assert_eq!(
        (kinds(&ended), statistics(&ended["statistics"])),
        (vec!["Completed(succeeded)".to_owned(), "Assigned".to_owned()], [0, 4, 4, 0, 0, 0, 0])
    );
}

#[test]
fn a_message_has_at_most_fifty_entries() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["linux"], 120);
    let mut sizes = Vec::new();
    let mut cursor = 0;
    while let Ok(got) = driver.poll(&session, cursor, 1000) {
        let message = got.ok(200);
        sizes.push(entries(&message).len());
        cursor = message["messageId"].as_i64().unwrap();
    }
    assert_eq!(sizes, [50, 50, 20]);
}

#[test]
fn a_poll_wakes_for_everything_but_a_started_job() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let hold = driver.poll(&session, 0, 5).unwrap_err();
    assert!(driver.held(hold).is_none());
    driver.pass(1);
    driver.queue(&["linux"], 1);
    assert_eq!(driver.sim.take_woken(), [hold]);
    let message = driver.held(hold).unwrap().ok(200);
    assert_eq!(kinds(&message), ["Assigned"]);

    let hold = driver.poll(&session, 100_000_001, 5).unwrap_err();
    let mut runner = driver.mint(set, "r1");
    driver.connect(&mut runner);
    let job = driver.take(&runner);
    assert!(driver.held(hold).is_none(), "JobStarted must not wake");
    driver.pass(50);
    let late = driver.held(hold).unwrap().ok(200);
    assert_eq!(kinds(&late), ["Started"]);
    assert_eq!(entries(&late)[0]["runnerName"], "r1");

    let hold = driver.poll(&session, 100_000_002, 5).unwrap_err();
    driver.complete(&runner, &job, "failed");
    let message = driver.held(hold).unwrap().ok(200);
    assert_eq!(kinds(&message), ["Completed(failed)"]);
    assert_eq!(entries(&message)[0]["runnerName"], "r1");

    let hold = driver.poll(&session, 100_000_003, 5).unwrap_err();
    driver.pass(49);
    assert!(driver.held(hold).is_none());
    driver.pass(1);
    let nothing = driver.held(hold).unwrap();
    assert_eq!((nothing.status, nothing.bytes.len()), (202, 0));
}

#[test]
fn labels_and_groups_decide_who_may_take_a_job() {
    let mut driver = Driver::new();
    let group = driver
        .control("groups", json!({ "scope": "acme", "name": "open", "allows_public": true }))["id"]
        .as_i64()
        .unwrap();
    let closed = driver.set("closed", &["linux", "x64"]);
    let body = json!({ "name": "open", "runnerGroupId": group, "labels": [{ "name": "Linux" }, { "name": "X64" }] });
    let open = driver.service("POST", "/runnerscalesets", &body).ok(200)["id"].as_i64().unwrap();
    driver.control("scopes", json!({ "path": "acme/public", "public": true }));
    driver.control("scopes", json!({ "path": "other/app" }));
    let mut available = |repo: &str, labels: &[&str], set: i64| {
        driver.control("jobs", json!({ "scope": repo, "labels": labels }));
        let set = driver.service("GET", &format!("/runnerscalesets/{set}"), &Value::Null).ok(200);
        set["statistics"]["totalAvailableJobs"].as_i64().unwrap()
    };
    assert_eq!(available("acme/app", &["LINUX"], closed), 1);
    assert_eq!(available("acme/app", &["linux", "gpu"], closed), 1, "a label that the set lacks");
    assert_eq!(available("acme/app", &["x64", "linux"], closed), 2);
    assert_eq!(
        available("acme/public", &["linux"], closed),
        2,
        "public repositories are not let in"
    );
    assert_eq!(available("other/app", &["linux"], closed), 2, "another owner");
    assert_eq!(available("acme/public", &["linux"], open), 4, "this group lets them in");
    // New labels reach jobs that wait already.
    let body = json!({ "labels": [{ "name": "linux" }, { "name": "gpu" }] });
    let set = driver.service("PATCH", &format!("/runnerscalesets/{closed}"), &body).ok(200);
    assert_eq!(set["statistics"]["totalAvailableJobs"], 2);
}

#[test]
fn an_unacknowledged_message_comes_again() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["linux"], 1);
    let first = driver.poll(&session, 0, 5).unwrap().ok(200);
    // The answer may have been lost: the same cursor gives the same message.
    assert_eq!(driver.poll(&session, 0, 5).unwrap().ok(200)["body"], first["body"]);
    // Within a session the cursor hides it.
    let hold = driver.poll(&session, 100_000_001, 5).unwrap_err();
    driver.sim.abandon(driver.now, hold);
    driver
        .service("DELETE", &format!("/runnerscalesets/{set}/sessions/{}", session.id), &Value::Null)
        .ok(204);
    // A new session starts with cursor 0 and gets it again, with the same id.
    let session = driver.session(set);
    assert_eq!(statistics(&session.statistics)[2], 1);
    let again = driver.poll(&session, 0, 5).unwrap().ok(200);
    assert_eq!((&again["messageId"], &again["body"]), (&first["messageId"], &first["body"]));
    // Acknowledged, it is gone for every session; twice is as good as once.
    driver.acknowledge(&session, 100_000_001).ok(204);
    driver.acknowledge(&session, 100_000_001).ok(204);
    driver.acknowledge(&session, 42).ok(204);
    assert!(driver.poll(&session, 0, 5).is_err());
}

#[test]
fn jobs_are_acquired_once() {
    let mut driver = Driver::acquiring();
    let one = driver.set("one", &["linux"]);
    let two = driver.set("two", &["linux"]);
    let (first, second) = (driver.session(one), driver.session(two));
    let jobs = driver.queue(&["linux"], 3);
    let offer = driver.poll(&first, 0, 2).unwrap().ok(200);
    assert_eq!(
        kinds(&offer),
        ["Available", "Available"],
        "no more is offered than there is capacity for"
    );
    assert_eq!(statistics(&offer["statistics"]), [3, 0, 0, 0, 0, 0, 0]);
    assert!(entries(&offer)[0]["acquireJobUrl"].as_str().unwrap().ends_with("/acquirejobs"));
    assert_eq!(
        kinds(&driver.poll(&second, 0, 5).unwrap().ok(200)).len(),
        3,
        "others are offered the same"
    );
    let acquire = |driver: &mut Driver, session: &crate::driver::Session, ids: Value| {
        let path = format!(
            "{}/runnerscalesets/{}/acquirejobs?api-version=6.0-preview",
            crate::driver::SERVICE,
            session.set
        );
        driver.call("POST", &path, &format!("Bearer {}", session.token), &ids).ok(200)
    };
    assert_eq!(
        acquire(&mut driver, &second, json!([jobs[0]])),
        json!({ "count": 1, "value": [jobs[0]] })
    );
    let won = acquire(&mut driver, &first, json!([jobs[0], jobs[1], 12345]));
    assert_eq!(won, json!({ "count": 1, "value": [jobs[1]] }));
    let assigned = driver.poll(&first, 100_000_001, 2).unwrap().ok(200);
    assert_eq!(kinds(&assigned), ["Assigned", "Available"]);
    assert_eq!(entries(&assigned)[0]["runnerRequestId"], jobs[1]);
    // The third job is still to be had, and a new session hears of it again.
    let open = driver
        .service("GET", &format!("/runnerscalesets/{one}/acquirablejobs"), &Value::Null)
        .ok(200);
    assert_eq!(open["count"], 1);
    driver
        .service("DELETE", &format!("/runnerscalesets/{one}/sessions/{}", first.id), &Value::Null)
        .ok(204);
    let session = driver.session(one);
    let hold = driver.poll(&session, 100_000_002, 5).map(|got| kinds(&got.ok(200)));
    assert_eq!(hold.unwrap(), ["Available"]);
}

#[test]
fn bad_polls_are_refused() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let got = driver.poll(&session, 0, -1).unwrap();
    assert_eq!((got.status, got.header("content-type")), (400, "text/plain; charset=utf-8"));
    // An old client that sends no capacity gets all there is.
    driver.queue(&["linux"], 3);
    let authorization = format!("Bearer {}", session.token);
    let message = driver.call("GET", &session.url, &authorization, &Value::Null).ok(200);
    assert_eq!(entries(&message).len(), 3);
}
