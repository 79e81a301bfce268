//! Statuses and bodies of refusals, and which token opens which door.

use serde_json::{Value, json};

use crate::driver::{AGENTS, Driver, SERVICE};

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum With {
    Admin,
    Queue,
    Registration,
    Pat,
    Nothing,
}

#[track_caller]
fn check(method: &str, path: &str, with: With, body: Value, status: u16, names: &str) {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.mint(set, "taken");
    let registration =
        driver.rest("POST", "/orgs/acme/actions/runners/registration-token", &Value::Null).ok(201);
    let token = match with {
        With::Admin => driver.sign_in("acme"),
        With::Queue => session.token.clone(),
        With::Registration => registration["token"].as_str().unwrap().to_owned(),
        With::Pat => driver.pat.clone(),
        With::Nothing => String::new(),
    };
    let authorization = if token.is_empty() { String::new() } else { format!("Bearer {token}") };
    let path = path.replace("{set}", &set.to_string()).replace("{session}", &session.id);
    let got = driver.call(method, &path, &authorization, &body);
    let text = String::from_utf8_lossy(&got.bytes);
    assert_eq!(
        (got.status, true),
        (status, text.contains(names)),
        "{method} {path} {with:?}: {} {text}",
        got.status
    );
    if names.ends_with("Exception") {
        for member in
            ["$id", "innerException", "message", "typeName", "typeKey", "errorCode", "eventId"]
        {
            assert!(got.body.get(member).is_some(), "{member} is missing in {text}");
        }
        assert!(got.body["typeName"].as_str().unwrap().contains(names));
    }
}

#[test]
fn refusals_of_the_service() {
    let v = "api-version=6.0-preview";
    let sets = format!("{SERVICE}/runnerscalesets");
    let none = "00000000-0000-4000-8000-000000000000";
    for (method, path, with, body, status, names) in [
        (
            "GET",
            format!("{sets}/999?{v}"),
            With::Admin,
            Value::Null,
            404,
            "RunnerScaleSetNotFoundException",
        ),
        (
            "PATCH",
            format!("{sets}/999?{v}"),
            With::Admin,
            json!({}),
            404,
            "RunnerScaleSetNotFoundException",
        ),
        (
            "DELETE",
            format!("{sets}/999?{v}"),
            With::Admin,
            Value::Null,
            404,
            "RunnerScaleSetNotFoundException",
        ),
        (
            "POST",
            format!("{sets}/999/sessions?{v}"),
            With::Admin,
            json!({}),
            404,
            "RunnerScaleSetNotFoundException",
        ),
        (
            "POST",
            format!("{sets}?{v}"),
            With::Admin,
            json!({ "name": "ONE", "runnerGroupId": 1 }),
            400,
            "RunnerScaleSetExistsException",
        ),
        (
            "POST",
            format!("{sets}?{v}"),
            With::Admin,
            json!({ "name": "two", "runnerGroupId": 77 }),
            400,
            "Exception",
        ),
        (
            "POST",
            format!("{sets}?{v}"),
            With::Admin,
            json!({ "runnerGroupId": 1 }),
            400,
            "Exception",
        ),
        (
            "POST",
            format!("{sets}/{{set}}/sessions?{v}"),
            With::Admin,
            json!({ "ownerName": "b" }),
            409,
            "RunnerScaleSetSessionConflictException",
        ),
        (
            "PATCH",
            format!("{sets}/{{set}}/sessions/{none}?{v}"),
            With::Admin,
            Value::Null,
            400,
            "RunnerScaleSetSessionExpiredException",
        ),
        (
            "DELETE",
            format!("{sets}/{{set}}/sessions/{none}?{v}"),
            With::Admin,
            Value::Null,
            400,
            "RunnerScaleSetSessionExpiredException",
        ),
        (
            "POST",
            format!("{sets}/{{set}}/generatejitconfig?{v}"),
            With::Admin,
            json!({ "name": "Taken" }),
            409,
            "AgentExistsException",
        ),
        (
            "POST",
            format!("{sets}/{{set}}/generatejitconfig?{v}"),
            With::Admin,
            json!({ "name": "" }),
            400,
            "Exception",
        ),
        (
            "GET",
            format!("{AGENTS}/999?{v}"),
            With::Admin,
            Value::Null,
            404,
            "AgentNotFoundException",
        ),
        (
            "DELETE",
            format!("{AGENTS}/999?{v}"),
            With::Admin,
            Value::Null,
            404,
            "AgentNotFoundException",
        ),
        (
            "POST",
            format!("{sets}/{{set}}/acquirejobs?{v}"),
            With::Queue,
            json!([1]),
            404,
            "404 page not found",
        ),
    ] {
        check(method, &path, with, body, status, names);
    }
}

#[test]
fn a_token_opens_its_own_door_only() {
    let v = "api-version=6.0-preview";
    let set = format!("{SERVICE}/runnerscalesets/{{set}}");
    for with in [With::Queue, With::Registration, With::Pat, With::Nothing] {
        check("GET", &format!("{set}?{v}"), with, Value::Null, 401, "InvalidTokenException");
    }
    for with in [With::Admin, With::Pat, With::Nothing] {
        check(
            "POST",
            &format!("{set}/acquirejobs?{v}"),
            with,
            json!([]),
            401,
            "InvalidTokenException",
        );
        check(
            "GET",
            "/queue/scalesets/message?shard=s1",
            with,
            Value::Null,
            401,
            "InvalidTokenException",
        );
        check(
            "DELETE",
            "/queue/scalesets/message/1?shard=s1",
            with,
            Value::Null,
            401,
            "InvalidTokenException",
        );
    }
    for with in [With::Admin, With::Queue, With::Registration] {
        check("GET", "/orgs/acme/actions/runners", with, Value::Null, 401, "Bad credentials");
        check("POST", "/broker/session", with, json!({}), 401, "Unauthorized");
    }
    // The version is asked for, and the queue's own parameter must come back.
    check("GET", &set, With::Admin, Value::Null, 400, "api-version");
    check("GET", "/queue/scalesets/message", With::Queue, Value::Null, 400, "shard");
}

#[test]
fn a_scope_does_not_see_another_ones_sets_and_runners() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let runner = driver.mint(set, "r");
    driver.control("scopes", json!({ "path": "other" }));
    let got = driver.service_of("other", "GET", &format!("/runnerscalesets/{set}"), &Value::Null);
    assert_eq!(got.status, 404);
    let got =
        driver.service_of("other", "DELETE", &format!("{AGENTS}/{}", runner.id), &Value::Null);
    assert_eq!(got.status, 404);
    let found = driver
        .service_of("other", "GET", "/runnerscalesets?runnerGroupId=1&name=one", &Value::Null)
        .ok(200);
    assert_eq!(found["count"], 0);
}

#[test]
fn tokens_expire() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.pass(49 * 60);
    assert_eq!(
        driver.acknowledge(&session, 5).status,
        404,
        "the session expired, the token did not"
    );
    driver.pass(2 * 60);
    assert_eq!(driver.acknowledge(&session, 5).status, 401);
    driver.pass(10 * 60);
    assert_eq!(driver.service("GET", &format!("/runnerscalesets/{set}"), &Value::Null).status, 401);
    driver.sign_in("acme");
    driver.service("GET", &format!("/runnerscalesets/{set}"), &Value::Null).ok(200);
    // On demand, too.
    assert_eq!(driver.control("tokens/revoke", json!({ "kind": "admin" }))["revoked"], 1);
    assert_eq!(driver.service("GET", &format!("/runnerscalesets/{set}"), &Value::Null).status, 401);
}

#[test]
fn a_registration_token_is_for_its_own_scope() {
    let mut driver = Driver::new();
    driver.control("scopes", json!({ "path": "other" }));
    let made =
        driver.rest("POST", "/orgs/acme/actions/runners/registration-token", &Value::Null).ok(201);
    let authorization = format!("RemoteAuth {}", made["token"].as_str().unwrap());
    let mut ask = |scope: &str, authorization: &str| {
        let body =
            json!({ "url": format!("https://sim.test/{scope}"), "runner_event": "register" });
        driver.call("POST", "/actions/runner-registration", authorization, &body).status
    };
    assert_eq!(ask("other", &authorization), 404);
    assert_eq!(ask("acme", &authorization.replace("RemoteAuth", "Bearer")), 401);
    assert_eq!(ask("acme", "RemoteAuth nonsense"), 401);
    assert_eq!(ask("ACME", &authorization), 200);
}
