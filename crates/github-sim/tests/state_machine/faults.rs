//! Faults: how often they strike, and what of a call is executed.

use dayfly_github_sim::Answer;
use serde_json::{Value, json};

use crate::driver::{Driver, entries, kinds, statistics};

fn fault(driver: &mut Driver, route: &str, action: Value, count: Option<u64>) {
    driver.control("faults", json!({ "route": route, "action": action, "count": count }));
}

/// Creates a set under a fault: what the caller gets (a status, or 0 for a dropped connection), and how many sets there are then.
#[track_caller]
fn check_create(action: Value, expected: u16, sets: i64) {
    let mut driver = Driver::new();
    let token = driver.sign_in("acme");
    fault(&mut driver, "sets.create", action.clone(), Some(1));
    let path = format!("{}/runnerscalesets?api-version=6.0-preview", crate::driver::SERVICE);
    let authorization = format!("Bearer {token}");
    let body = json!({ "name": "one", "runnerGroupId": 1 }).to_string();
    let mut answer = driver.raw("POST", &path, &[("authorization", &authorization)], body);
    if let Answer::Hold(id) = answer {
        assert!(driver.sim.held(driver.now, id).is_none());
        driver.pass(5);
        answer = driver.sim.held(driver.now, id).expect("its time has come");
    }
    let status = match answer {
        Answer::Respond(response) => response.status().as_u16(),
        Answer::Truncate(response, bytes) => {
            assert!(bytes < response.body().len());
            response.status().as_u16()
        }
        Answer::Drop => 0,
        Answer::Hold(_) => panic!("held again"),
    };
    assert_eq!(
        (status, driver.look("summary")["sets"].as_i64().unwrap()),
        (expected, sets),
        "{action}"
    );
    // The next call is whole again.
    driver.service("GET", "/runnerscalesets", &Value::Null).ok(200);
}

#[test]
fn faults_strike_before_or_after_the_effect() {
    check_create(json!({ "do": "status", "status": 503, "retry_after": 7 }), 503, 0);
    check_create(json!({ "do": "reset_before" }), 0, 0);
    check_create(json!({ "do": "reset_after" }), 0, 1);
    check_create(json!({ "do": "truncate", "bytes": 10 }), 200, 1);
    check_create(json!({ "do": "delay_before", "ms": 5000 }), 200, 1);
    check_create(json!({ "do": "delay_after", "ms": 5000 }), 200, 1);
    check_create(json!({ "do": "twice" }), 400, 1);
    check_create(json!({ "do": "empty200" }), 200, 1);
    check_create(json!({ "do": "bom" }), 200, 1);
    check_create(json!({ "do": "primary_limit", "reset_s": 60 }), 403, 0);
    check_create(json!({ "do": "secondary_limit", "retry_after": 60 }), 403, 0);
}

#[test]
fn a_delay_before_has_no_effect_until_it_is_over() {
    let mut driver = Driver::new();
    let token = format!("Bearer {}", driver.sign_in("acme"));
    for (action, sets) in [("delay_before", 0), ("delay_after", 1)] {
        fault(&mut driver, "sets.create", json!({ "do": action, "ms": 1000 }), Some(1));
        let path = format!("{}/runnerscalesets?api-version=6.0-preview", crate::driver::SERVICE);
        let body = json!({ "name": action, "runnerGroupId": 1 }).to_string();
        let answer = driver.raw("POST", &path, &[("authorization", &token)], body);
        let Answer::Hold(hold) = answer else { panic!("{answer:?}") };
        assert_eq!(driver.look("summary")["sets"], sets);
        assert_eq!(driver.sim.next_deadline().map(|at| at <= driver.now), Some(false));
        // The caller gives up: what was not executed never is.
        driver.sim.abandon(driver.now, hold);
        driver.pass(2);
        assert_eq!(driver.look("summary")["sets"], sets);
    }
}

#[test]
fn faults_are_counted_skipped_drawn_and_cleared() {
    let mut driver = Driver::new();
    let statuses = |driver: &mut Driver, count: usize| -> Vec<u16> {
        (0..count)
            .map(|_| driver.rest("GET", "/orgs/acme/actions/runners", &Value::Null).status)
            .collect()
    };
    driver.control("faults", json!({ "route": "runners.*", "action": { "do": "status", "status": 502 }, "count": 2, "skip": 1 }));
    assert_eq!(statuses(&mut driver, 4), [200, 502, 502, 200]);
    assert_eq!(driver.look("faults"), json!([]));
    let set = driver.control("faults", json!({ "route": "runners.list", "action": { "do": "status", "status": 500 }, "probability": 0.5 }));
    let drawn = statuses(&mut driver, 200);
    let failed = drawn.iter().filter(|status| **status == 500).count();
    assert!((60..140).contains(&failed), "{failed} of 200");
    driver.call("DELETE", &format!("/control/faults/{}", set["id"]), "", &Value::Null).ok(200);
    assert_eq!(statuses(&mut driver, 20), [200; 20]);
    driver.control("faults", json!({ "route": "*", "action": { "do": "status", "status": 500, "body": "gone", "headers": { "x-a": "b" } } }));
    let got = driver.rest("GET", "/rate_limit", &Value::Null);
    assert_eq!(
        (got.status, got.header("content-type"), got.header("x-a"), &got.bytes[..]),
        (500, "text/plain; charset=utf-8", "b", &b"gone"[..])
    );
    driver.call("DELETE", "/control/faults", "", &Value::Null).ok(200);
    assert_eq!(statuses(&mut driver, 1), [200]);
    let unknown = driver.call(
        "POST",
        "/control/faults",
        "",
        &json!({ "route": "*", "action": { "do": "magic" } }),
    );
    assert_eq!(unknown.status, 400);
}

#[test]
fn faults_of_messages() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.queue(&["linux"], 1);
    let strike = |driver: &mut Driver, action: Value| {
        fault(driver, "messages.get", action, Some(1));
        driver.poll(&session, 0, 1).unwrap()
    };
    let zero = strike(&mut driver, json!({ "do": "zero_statistics" })).ok(200);
    assert_eq!(
        (kinds(&zero), statistics(&zero["statistics"])),
        (vec!["Assigned".to_owned()], [0; 7])
    );
    let lost =
        strike(&mut driver, json!({ "do": "lose_entries", "kinds": ["JobAssigned"] })).ok(200);
    assert_eq!((entries(&lost).len(), statistics(&lost["statistics"])[2]), (0, 1));
    let poisoned = strike(&mut driver, json!({ "do": "poison_entry" })).ok(200);
    assert_eq!(
        (entries(&poisoned).len(), &entries(&poisoned)[1]["messageType"]),
        (2, &json!("JobAssigned"))
    );
    let marked = strike(&mut driver, json!({ "do": "bom" }));
    assert!(marked.bytes.starts_with(b"\xEF\xBB\xBF{"));
    let empty = strike(&mut driver, json!({ "do": "empty200" }));
    assert_eq!((empty.status, empty.bytes.len()), (200, 0));
    fault(&mut driver, "messages.get", json!({ "do": "stuck_poll", "ms": 90_000 }), Some(1));
    let hold = driver.poll(&session, 0, 1).unwrap_err();
    driver.pass(89);
    assert!(driver.held(hold).is_none(), "it hears of nothing");
    driver.pass(1);
    assert_eq!(driver.held(hold).unwrap().status, 202);
    fault(&mut driver, "sessions.create", json!({ "do": "session_conflict" }), Some(1));
    let conflict = driver.service("POST", &format!("/runnerscalesets/{set}/sessions"), &json!({}));
    assert!(conflict.body["typeName"].as_str().unwrap().contains("SessionConflict"));
}

#[test]
fn the_journal_says_who_asked_what_and_never_a_token() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    fault(&mut driver, "messages.get", json!({ "do": "reset_after" }), Some(1));
    driver.queue(&["linux"], 1);
    assert!(matches!(
        driver.raw(
            "GET",
            &session.url,
            &[("authorization", &format!("Bearer {}", session.token))],
            ""
        ),
        Answer::Drop
    ));
    let mut runner = driver.mint(set, "r");
    driver.connect(&mut runner);
    let journal = driver.look("journal");
    let text = journal.to_string();
    for secret in [&driver.pat, &session.token, &runner.token] {
        assert!(!text.contains(secret.as_str()));
    }
    let poll =
        journal.as_array().unwrap().iter().find(|entry| entry["route"] == "messages.get").unwrap();
    assert_eq!(
        (&poll["status"], &poll["kind"], &poll["faults"]),
        (&Value::Null, &json!("daemon"), &json!(["reset_after"]))
    );
    assert!(poll["credential"].is_number());
    let counters = driver.look("counters");
    assert_eq!(
        counters["messages.get"],
        json!({ "requests": 1, "statuses": { "0": 1 }, "kind": "daemon" })
    );
    assert_eq!(
        counters["broker.token"],
        json!({ "requests": 1, "statuses": { "200": 1 }, "kind": "runner" })
    );
    assert!(counters.get("control").is_none());
    // Bounded entries, complete counters.
    driver.control("options", json!({ "journal_max": 3 }));
    for _ in 0..10 {
        driver.rest("GET", "/rate_limit", &Value::Null).ok(200);
    }
    let journal = driver.look("journal");
    let journal = journal.as_array().unwrap();
    assert_eq!(journal.len(), 3);
    let last = journal[2]["number"].as_u64().unwrap();
    assert_eq!(driver.look(&format!("journal?since={last}")).as_array().unwrap().len(), 1);
    assert_eq!(driver.look("counters")["rate_limit"]["requests"], 10);
}
