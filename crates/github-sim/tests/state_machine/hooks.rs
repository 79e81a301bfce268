//! Webhooks: what is sent when, how it is signed, what goes wrong, and what is told of it afterwards.

use aws_lc_rs::hmac;
use dayfly_github_sim::Outgoing;
use serde_json::{Value, json};

use crate::driver::Driver;

const SECRET: &str = "not much of a secret";
const HOOKS: &str = "/orgs/acme/hooks";

fn body(url: &str) -> Value {
    let config =
        json!({ "url": url, "content_type": "json", "secret": SECRET, "insecure_ssl": "0" });
    json!({ "name": "web", "active": true, "events": ["workflow_job"], "config": config })
}

impl Driver {
    /// A hook of the organisation, greeted.
    fn hook(&mut self) -> i64 {
        let made = self.rest("POST", HOOKS, &body("http://here.test/webhook")).ok(201);
        let pings = self.due(200);
        assert_eq!((pings.len(), pings[0].0.as_str()), (1, "ping"));
        made["id"].as_i64().unwrap()
    }

    /// What is due, as events with their payloads; each is answered with `status`.
    fn due(&mut self, status: u16) -> Vec<(String, Value)> {
        let due = self.sim.take_deliveries(1_000);
        let mut told = Vec::new();
        for Outgoing { id, request, .. } in due {
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
            let digest: String = hmac::sign(&key, request.body())
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(header("x-hub-signature-256"), format!("sha256={digest}"));
            assert_eq!(header("content-type"), "application/json");
            let payload = serde_json::from_slice(request.body()).unwrap();
            told.push((header("x-github-event"), payload));
            self.sim.delivered(self.now, id, Some(status));
        }
        told
    }

    /// The actions that are due.
    fn actions(&mut self) -> Vec<String> {
        let due = self.due(200);
        due.iter().map(|(_, payload)| payload["action"].as_str().unwrap().to_owned()).collect()
    }

    fn listed(&mut self, hook: i64, query: &str) -> Vec<Value> {
        let path = format!("{HOOKS}/{hook}/deliveries{query}");
        self.rest("GET", &path, &Value::Null).ok(200).as_array().unwrap().clone()
    }
}

#[test]
fn every_step_of_a_job_is_told() {
    let mut driver = Driver::new();
    driver.hook();
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let held = driver.call(
        "POST",
        "/control/jobs?held=1",
        "",
        &json!({ "scope": "acme/app", "labels": ["linux"], "steps": ["true"] }),
    );
    let job = held.ok(200)["job_ids"][0].as_i64().unwrap();
    let due = driver.due(200);
    assert_eq!(due[0].1["action"], "waiting");
    assert_eq!(due[0].1["workflow_job"]["status"], "waiting");
    assert_eq!(driver.look("summary")["jobs"]["held"], 1);
    let waiting = "/repos/acme/app/actions/runs?status=waiting";
    assert_eq!(driver.rest("GET", waiting, &Value::Null).ok(200)["total_count"], 1);
    driver.control(&format!("jobs/{job}/approve"), Value::Null);
    let due = driver.due(200);
    assert_eq!(
        (&due[0].1["action"], &due[0].1["workflow_job"]["runner_name"]),
        (&json!("queued"), &Value::Null)
    );
    assert_eq!(due[0].1["repository"]["full_name"], "acme/app");
    driver.poll(&session, 0, 1).unwrap().ok(200);
    let mut runner = driver.mint(set, "one");
    driver.connect(&mut runner);
    let taken = driver.take(&runner);
    let due = driver.due(200);
    assert_eq!(
        (&due[0].1["action"], &due[0].1["workflow_job"]["runner_name"]),
        (&json!("in_progress"), &json!("one"))
    );
    driver.complete(&runner, &taken, "succeeded");
    let due = driver.due(200);
    assert_eq!(
        (&due[0].1["action"], &due[0].1["workflow_job"]["conclusion"]),
        (&json!("completed"), &json!("success"))
    );
    // A job that is cancelled before a runner had it is completed without having been in progress.
    let cancelled = driver.queue(&["nobody"], 1)[0];
    driver.control(&format!("jobs/{cancelled}/cancel"), Value::Null);
    assert_eq!(driver.actions(), ["queued", "completed"]);
    assert_eq!(driver.look("summary")["jobs"]["held"], 0);
}

#[test]
fn running_failed_jobs_again_tells_of_the_others_too() {
    let mut driver = Driver::new();
    let queued =
        driver.control("jobs", json!({ "scope": "acme/app", "labels": ["x"], "count": 2 }));
    for (job, conclusion) in [(0, "success"), (1, "failure")] {
        let path = format!("jobs/{}/complete", queued["job_ids"][job]);
        driver.control(&path, json!({ "conclusion": conclusion }));
    }
    driver.hook();
    driver.control(&format!("runs/{}/rerun-failed", queued["run_ids"][0]), Value::Null);
    let due = driver.due(200);
    let told: Vec<_> = due
        .iter()
        .map(|(_, told)| (&told["action"], &told["workflow_job"]["run_attempt"]))
        .collect();
    assert_eq!(told, [(&json!("queued"), &json!(2)), (&json!("completed"), &json!(1))]);
}

#[test]
fn only_those_that_listen_hear() {
    let mut driver = Driver::new();
    let hook = driver.hook();
    let repos = "/repos/acme/app/hooks";
    driver.rest("POST", repos, &body("http://there.test/")).ok(201);
    driver.control("scopes", json!({ "path": "other/app" }));
    let mut deaf = body("http://deaf.test/");
    deaf["events"] = json!(["push"]);
    driver.rest("POST", HOOKS, &deaf).ok(201);
    driver.due(200);
    driver.queue(&["x"], 1);
    assert_eq!(driver.due(200).len(), 2, "the organisation's and the repository's");
    driver.control("jobs", json!({ "scope": "other/app", "labels": ["x"] }));
    assert_eq!(driver.due(200).len(), 0);
    driver.rest("PATCH", &format!("{HOOKS}/{hook}"), &json!({ "active": false })).ok(200);
    driver.queue(&["x"], 1);
    assert_eq!(driver.due(200).len(), 1);
    driver.queue(&["x"], 1);
    let listed = driver.rest("GET", repos, &Value::Null).ok(200);
    assert_eq!(listed[0]["config"]["secret"], "********");
    driver.rest("DELETE", &format!("{repos}/{}", listed[0]["id"]), &Value::Null).ok(204);
    assert_eq!(driver.due(200).len(), 0, "a hook that is gone hears nothing more");
}

#[test]
fn deliveries_are_listed_and_sent_again() {
    let mut driver = Driver::new();
    let hook = driver.hook();
    driver.queue(&["x"], 3);
    driver.due(503);
    let failed = driver.listed(hook, "?status=failure");
    assert_eq!((failed.len(), &failed[0]["status_code"]), (3, &json!(503)));
    assert_eq!(driver.listed(hook, "?status=success").len(), 1, "the ping");
    // The newest first, page by page.
    let first = driver.rest("GET", &format!("{HOOKS}/{hook}/deliveries?per_page=3"), &Value::Null);
    let link = first.header("link").to_owned();
    let mut ids: Vec<i64> =
        first.ok(200).as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect();
    let next = link.trim_start_matches("<http://sim.test/api/v3").split('>').next().unwrap();
    ids.extend(
        driver
            .rest("GET", next, &Value::Null)
            .ok(200)
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_i64().unwrap()),
    );
    assert!(ids.len() == 4 && ids.is_sorted_by(|one, other| one > other), "{ids:?}");

    let path = format!("{HOOKS}/{hook}/deliveries/{}", failed[0]["id"]);
    let whole = driver.rest("GET", &path, &Value::Null).ok(200);
    assert_eq!(whole["request"]["payload"]["action"], "queued");
    driver.rest("POST", &format!("{path}/attempts"), &Value::Null).ok(202);
    assert_eq!(driver.actions(), ["queued"]);
    let newest = &driver.listed(hook, "?per_page=1")[0];
    assert_eq!((&newest["guid"], &newest["redelivery"]), (&failed[0]["guid"], &json!(true)));
    assert_ne!(newest["id"], failed[0]["id"]);
    driver.pass(3 * 24 * 3_600 + 1);
    driver.rest("POST", &format!("{path}/attempts"), &Value::Null).ok(422);
}

#[test]
fn faults_of_deliveries() {
    // The fault; what is due at once, what is due after a second, and what the list says of it.
    let check = |action: Value, at_once: usize, later: usize, listed: Option<u16>| {
        let mut driver = Driver::new();
        let hook = driver.hook();
        driver.control("faults", json!({ "route": "hooks.deliver", "action": action, "count": 1 }));
        driver.queue(&["x"], 1);
        assert_eq!(driver.due(200).len(), at_once, "{action}");
        driver.pass(2);
        assert_eq!(driver.due(200).len(), later, "{action}");
        let item = driver.listed(hook, "").into_iter().find(|item| item["event"] == "workflow_job");
        assert_eq!(
            item.map(|item| item["status_code"].clone()),
            listed.map(Value::from),
            "{action}"
        );
    };
    check(json!({ "do": "lose" }), 0, 0, None);
    check(json!({ "do": "twice" }), 2, 0, Some(200));
    check(json!({ "do": "delay_before", "ms": 1_000 }), 0, 1, Some(200));
    check(json!({ "do": "shuffle", "ms": 1_000 }), 0, 1, Some(200));
    check(json!({ "do": "reset_before" }), 0, 0, Some(502));
    check(json!({ "do": "status", "status": 500 }), 0, 0, Some(500));
    check(json!({ "do": "reset_after" }), 1, 0, Some(504));
}

#[test]
fn wrong_hooks_are_refused() {
    let mut driver = Driver::new();
    driver.hook();
    let without = |key: &str| {
        let mut body = body("http://x.test/");
        body["config"].as_object_mut().unwrap().remove(key);
        body
    };
    for (path, body, status) in [
        (HOOKS, body("http://here.test/webhook"), 422),
        (HOOKS, body("here.test"), 422),
        (HOOKS, without("url"), 422),
        (HOOKS, without("content_type"), 422),
        ("/orgs/nobody/hooks", body("http://x.test/"), 404),
        ("/enterprises/acme/hooks", body("http://x.test/"), 404),
    ] {
        assert_eq!(driver.rest("POST", path, &body).status, status, "{path} {body}");
    }
    for index in 1..20 {
        driver.rest("POST", HOOKS, &body(&format!("http://{index}.test/"))).ok(201);
    }
    driver.rest("POST", HOOKS, &body("http://one-more.test/")).ok(422);
    driver.pat = driver.control(
        "credentials",
        json!({ "type": "pat", "permissions": ["organization_hooks:read"] }),
    )["token"]
        .as_str()
        .unwrap()
        .to_owned();
    driver.rest("GET", HOOKS, &Value::Null).ok(200);
    driver.rest("POST", HOOKS, &body("http://x.test/")).ok(403);
}

#[test]
fn repositories_and_addresses_are_told() {
    let mut driver = Driver::new();
    driver.control("scopes", json!({ "path": "acme/quiet" }));
    driver.queue(&["x"], 1);
    let repos = driver.rest("GET", "/orgs/acme/repos?sort=pushed", &Value::Null).ok(200);
    let told: Vec<_> = repos
        .as_array()
        .unwrap()
        .iter()
        .map(|repo| (&repo["full_name"], repo["pushed_at"].is_null()))
        .collect();
    assert_eq!(told, [(&json!("acme/app"), false), (&json!("acme/quiet"), true)]);
    let meta = driver.rest("GET", "/meta", &Value::Null).ok(200);
    assert_eq!(meta["hooks"][0], "127.0.0.0/8");
}
