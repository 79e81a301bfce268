//! Rate limits.

use dayfly_github_sim::Options;
use serde_json::{Value, json};

use crate::driver::Driver;

const RUNNERS: &str = "/orgs/acme/actions/runners";

#[test]
fn the_primary_limit_refuses_until_its_reset() {
    let mut driver = Driver::with(Options { core_limit: 3, ..Options::default() });
    for used in 1..=3 {
        let got = driver.rest("GET", RUNNERS, &Value::Null);
        assert_eq!((got.status, got.header("x-ratelimit-used")), (200, used.to_string().as_str()));
        assert_eq!(got.header("x-ratelimit-remaining"), (3 - used).to_string());
        assert_eq!(got.header("x-ratelimit-resource"), "core");
    }
    let refused = driver.rest("GET", RUNNERS, &Value::Null);
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert_eq!(refused.header("x-ratelimit-reset"), (driver.now.as_second() + 3600).to_string());
    let free = driver.rest("GET", "/rate_limit", &Value::Null).ok(200);
    assert_eq!(
        free["resources"]["core"],
        json!({ "limit": 3, "used": 3, "remaining": 0, "reset": driver.now.as_second() + 3600 })
    );
    // Another credential has a budget of its own.
    let other = driver.control("credentials", json!({ "type": "pat" }))["token"]
        .as_str()
        .unwrap()
        .to_owned();
    driver.call("GET", RUNNERS, &format!("Bearer {other}"), &Value::Null).ok(200);
    driver.pass(3600);
    driver.rest("GET", RUNNERS, &Value::Null).ok(200);
}

#[test]
fn the_secondary_limit_says_how_long() {
    let mut driver = Driver::with(Options { secondary_per_minute: Some(2), ..Options::default() });
    driver.rest("GET", RUNNERS, &Value::Null).ok(200);
    driver.pass(20);
    driver.rest("GET", RUNNERS, &Value::Null).ok(200);
    let refused = driver.rest("GET", RUNNERS, &Value::Null);
    assert_eq!((refused.status, refused.header("retry-after")), (403, "40"));
    assert!(refused.body["message"].as_str().unwrap().contains("secondary rate limit"));
    driver.pass(40);
    driver.rest("GET", RUNNERS, &Value::Null).ok(200);
}

#[test]
fn writes_have_a_limit_of_their_own() {
    let mut driver = Driver::with(Options { writes_per_minute: Some(1), ..Options::default() });
    let token = "/orgs/acme/actions/runners/registration-token";
    driver.rest("POST", token, &Value::Null).ok(201);
    driver.pass(15);
    let refused = driver.rest("POST", token, &Value::Null);
    assert_eq!((refused.status, refused.header("retry-after")), (403, "45"));
    driver.rest("GET", RUNNERS, &Value::Null).ok(200);
    driver.pass(45);
    driver.rest("POST", token, &Value::Null).ok(201);
}

#[test]
fn registration_has_a_bucket_of_its_own_and_the_service_none() {
    let mut driver = Driver::with(Options { registration_limit: 1, ..Options::default() });
    driver.sign_in("acme");
    driver.set("one", &["linux"]);
    let made = driver.rest("POST", "/orgs/acme/actions/runners/registration-token", &Value::Null);
    assert_eq!(
        made.header("x-ratelimit-used"),
        "2",
        "token calls count in core, calls of the service nowhere"
    );
    let authorization = format!("RemoteAuth {}", made.body["token"].as_str().unwrap());
    let body = json!({ "url": "https://sim.test/acme", "runner_event": "register" });
    let refused = driver.call("POST", "/actions/runner-registration", &authorization, &body);
    assert_eq!(
        (refused.status, refused.header("x-ratelimit-resource")),
        (403, "actions_runner_registration")
    );
}
