//! The public REST: lists, pages, permissions, ETags.

use serde_json::{Value, json};

use crate::driver::Driver;

#[test]
fn lists_of_runners_are_paged_and_filtered_by_name() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    for index in 0..45 {
        driver.mint(set, &format!("r-{index:02}"));
    }
    let mut path = "/orgs/acme/actions/runners?per_page=20".to_owned();
    let mut seen = Vec::new();
    loop {
        let got = driver.rest("GET", &path, &Value::Null);
        let link = got.header("link").to_owned();
        let body = got.ok(200);
        assert_eq!(body["total_count"], 45);
        seen.extend(
            body["runners"]
                .as_array()
                .unwrap()
                .iter()
                .map(|runner| runner["name"].as_str().unwrap().to_owned()),
        );
        let next = link.split(", ").find(|link| link.ends_with("rel=\"next\""));
        match next {
            Some(next) => {
                let url = next.trim_start_matches('<').split('>').next().unwrap();
                path = url.trim_start_matches("http://sim.test/api/v3").to_owned();
            }
            None => break,
        }
    }
    assert_eq!(seen.len(), 45);
    assert!(seen.is_sorted());
    let one = driver.rest("GET", "/orgs/acme/actions/runners?name=R-07", &Value::Null).ok(200);
    assert_eq!((&one["total_count"], &one["runners"][0]["name"]), (&json!(1), &json!("r-07")));
    let none = driver.rest("GET", "/orgs/acme/actions/runners?name=r-0", &Value::Null).ok(200);
    assert_eq!((&none["total_count"], &none["runners"]), (&json!(0), &json!([])));
    let elsewhere = driver.rest("GET", "/repos/acme/app/actions/runners", &Value::Null).ok(200);
    assert_eq!(elsewhere["total_count"], 0, "an organisation's runners are not the repository's");
}

#[test]
fn refusals_of_the_rest() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    driver.mint(set, "taken");
    let jit = "/orgs/acme/actions/runners/generate-jitconfig";
    let wanted = |name: &str, group: i64, labels: Value| json!({ "name": name, "runner_group_id": group, "labels": labels });
    for (method, path, body, status) in [
        ("GET", "/orgs/nobody/actions/runners", Value::Null, 404),
        ("GET", "/repos/acme/nothing/actions/runners", Value::Null, 404),
        ("GET", "/enterprises/acme/actions/runners", Value::Null, 404),
        ("GET", "/orgs/acme/actions/runners/99999", Value::Null, 404),
        ("DELETE", "/orgs/acme/actions/runners/99999", Value::Null, 404),
        ("DELETE", "/orgs/acme/actions/runners/x", Value::Null, 404),
        ("POST", jit, wanted("taken", 1, json!(["a"])), 409),
        ("POST", jit, wanted("new", 99, json!(["a"])), 422),
        ("POST", jit, wanted("new", 1, json!([])), 422),
        ("POST", jit, wanted(&"x".repeat(65), 1, json!(["a"])), 422),
        ("POST", jit, json!({}), 422),
        ("GET", "/repos/acme/app/actions/runs/1", Value::Null, 404),
        ("GET", "/repos/acme/app/actions/jobs/1", Value::Null, 404),
        ("POST", "/repos/acme/app/actions/runs/1/cancel", Value::Null, 404),
        ("GET", "/orgs/acme/actions/runner-groups/99", Value::Null, 404),
        ("GET", "/no/such/path", Value::Null, 404),
    ] {
        let got = driver.rest(method, path, &body);
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        assert!(got.body["message"].is_string(), "{method} {path}: {}", got.body);
    }
    let silent = driver.raw("GET", "/orgs/acme/actions/runners", &[("user-agent", "")], "");
    assert!(matches!(silent, dayfly_github_sim::Answer::Respond(answer) if answer.status() == 403));
}

/// What a token with these permissions may do: org runners read, org token, repo token, enterprise token, runs read, cancel.
#[track_caller]
fn check_permissions(permissions: &[&str], expected: [u16; 6]) {
    let mut driver = Driver::new();
    driver.control("scopes", json!({ "path": "enterprises/big" }));
    let queued = driver.control("jobs", json!({ "scope": "acme/app", "labels": ["x"] }));
    driver.pat = driver
        .control("credentials", json!({ "type": "pat", "permissions": permissions }))["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let cancel = format!("/repos/acme/app/actions/runs/{}/cancel", queued["run_ids"][0]);
    let got = [
        ("GET", "/orgs/acme/actions/runners"),
        ("POST", "/orgs/acme/actions/runners/registration-token"),
        ("POST", "/repos/acme/app/actions/runners/registration-token"),
        ("POST", "/enterprises/big/actions/runners/registration-token"),
        ("GET", "/repos/acme/app/actions/runs"),
        ("POST", cancel.as_str()),
    ]
    .map(|(method, path)| {
        let got = driver.rest(method, path, &Value::Null);
        if got.status == 403 {
            assert!(!got.header("x-accepted-github-permissions").is_empty(), "{path}");
            assert_eq!(got.header("x-oauth-scopes").split(", ").count(), permissions.len().max(1));
        }
        got.status
    });
    assert_eq!(got, expected, "{permissions:?}");
}

#[test]
fn permissions_are_told_apart() {
    check_permissions(&["admin:org"], [200, 201, 403, 403, 403, 403]);
    check_permissions(&["repo"], [403, 403, 201, 403, 200, 202]);
    check_permissions(&["manage_runners:enterprise"], [403, 403, 403, 201, 403, 403]);
    check_permissions(&["organization_self_hosted_runners:read"], [200, 403, 403, 403, 403, 403]);
    check_permissions(
        &["organization_self_hosted_runners:write", "actions:read"],
        [200, 201, 403, 403, 200, 403],
    );
    check_permissions(&["administration:write", "actions:write"], [403, 403, 201, 403, 200, 202]);
    check_permissions(&[], [403, 403, 403, 403, 403, 403]);
}

#[test]
fn unknown_tokens_and_unreached_owners() {
    let mut driver = Driver::new();
    driver.pat = "ghp_unknown".to_owned();
    assert_eq!(driver.rest("GET", "/orgs/acme/actions/runners", &Value::Null).status, 401);
    driver.pat =
        driver.control("credentials", json!({ "type": "pat", "owners": ["Other"] }))["token"]
            .as_str()
            .unwrap()
            .to_owned();
    assert_eq!(driver.rest("GET", "/orgs/acme/actions/runners", &Value::Null).status, 404);
    driver.control("scopes", json!({ "path": "other/x" }));
    driver.rest("GET", "/repos/other/x/actions/runners", &Value::Null).ok(200);
    driver.rest("GET", "/orgs/other/actions/runners", &Value::Null).ok(200);
}

#[test]
fn an_unchanged_answer_is_304_and_free() {
    let mut driver = Driver::new();
    driver.queue(&["linux"], 1);
    let path = "/repos/acme/app/actions/runs";
    let first = driver.rest("GET", path, &Value::Null);
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with("W/\""));
    let remaining = first.header("x-ratelimit-remaining").to_owned();
    let authorization = format!("Bearer {}", driver.pat);
    let ask = |driver: &mut Driver, authorization: &str| {
        let headers = [("authorization", authorization), ("if-none-match", etag.as_str())];
        match driver.raw("GET", &format!("/api/v3{path}"), &headers, "") {
            dayfly_github_sim::Answer::Respond(answer) => answer,
            other => panic!("{other:?}"),
        }
    };
    let same = ask(&mut driver, &authorization);
    assert_eq!((same.status().as_u16(), same.body().len()), (304, 0));
    assert_eq!(same.headers()["x-ratelimit-remaining"].to_str().unwrap(), remaining);
    // Another token has another ETag.
    let other = driver.control("credentials", json!({ "type": "pat" }))["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(ask(&mut driver, &format!("token {other}")).status(), 200);
    driver.queue(&["linux"], 1);
    assert_eq!(ask(&mut driver, &authorization).status(), 200);
}

#[test]
fn runs_are_listed_by_status() {
    let mut driver = Driver::new();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    driver.control(
        "jobs",
        json!({ "scope": "acme/app", "labels": ["linux"], "count": 3, "run_each": true }),
    );
    driver.poll(&session, 0, 2).unwrap().ok(200);
    for (name, end) in [("a", true), ("b", false)] {
        let mut runner = driver.mint(set, name);
        driver.connect(&mut runner);
        let job = driver.take(&runner);
        if end {
            driver.complete(&runner, &job, "failed");
        }
    }
    let mut count = |status: &str| {
        let got = driver
            .rest("GET", &format!("/repos/acme/app/actions/runs?status={status}"), &Value::Null)
            .ok(200);
        assert_eq!(got["total_count"], got["workflow_runs"].as_array().unwrap().len());
        got["total_count"].as_i64().unwrap()
    };
    assert_eq!(
        ["queued", "in_progress", "completed", "failure", "success", "waiting"].map(&mut count),
        [1, 1, 1, 1, 0, 0]
    );
}

#[test]
fn every_route_is_there_with_and_without_the_prefix() {
    let mut driver = Driver::new();
    let authorization = format!("Bearer {}", driver.pat);
    for path in [
        "/orgs/acme/actions/runners",
        "/orgs/acme/actions/runner-groups",
        "/rate_limit",
        "/repos/acme/app/actions/runs",
    ] {
        for prefix in ["", "/api/v3"] {
            driver.call("GET", &format!("{prefix}{path}"), &authorization, &Value::Null).ok(200);
        }
    }
}
