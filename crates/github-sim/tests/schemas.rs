//! The public REST against GitHub's own published description, and GitHub's own webhook examples against our job type.
//!
//! Needs the files that `fetch-schemas.sh` fetches, in the directory that `DAYFLY_GITHUB_SCHEMAS` names.

#![expect(clippy::unwrap_used, reason = "a test ends with what it did not expect")]
#![expect(clippy::needless_pass_by_value, reason = "a body is written where it is used")]

use std::collections::BTreeSet;

use dayfly_github_sim::WorkflowJob;
use serde_json::{Map, Value, json};

#[path = "state_machine/driver.rs"]
#[expect(dead_code, reason = "shared with the tests of the state machine, which use all of it")]
mod driver;

use driver::Driver;

fn fetched(name: &str) -> Value {
    let folder = std::env::var("DAYFLY_GITHUB_SCHEMAS")
        .expect("DAYFLY_GITHUB_SCHEMAS names the directory that fetch-schemas.sh filled");
    let path = std::path::Path::new(&folder).join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

struct Description(Value);

impl Description {
    /// The schema of an answer, with all that it refers to, as JSON Schema.
    fn answer(&self, method: &str, path: &str, status: &str) -> Option<Value> {
        let operation = self.0["paths"].get(path)?.get(method)?;
        let response = self.resolve(operation["responses"].get(status)?);
        let content = response.get("content")?.as_object()?;
        Some(self.whole(content.iter().find(|(kind, _)| kind.contains("json"))?.1.get("schema")?))
    }

    /// A schema by its name.
    fn component(&self, name: &str) -> Value {
        self.whole(&self.0["components"]["schemas"][name])
    }

    /// A schema with all that it refers to, as JSON Schema.
    fn whole(&self, schema: &Value) -> Value {
        let mut wanted = BTreeSet::new();
        let mut schema = convert(schema, &mut wanted);
        let mut found = Map::new();
        while let Some(name) = wanted.iter().find(|name| !found.contains_key(*name)).cloned() {
            let converted = convert(&self.0["components"]["schemas"][&name], &mut wanted);
            found.insert(name, converted);
        }
        schema["components"] = json!({ "schemas": found });
        schema
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.0.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }
}

/// OpenAPI 3.0 to JSON Schema: `nullable` becomes a type. Notes the schemas referred to.
fn convert(schema: &Value, wanted: &mut BTreeSet<String>) -> Value {
    match schema {
        Value::Array(all) => all.iter().map(|schema| convert(schema, wanted)).collect(),
        Value::Object(members) => {
            if let Some(name) = members
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|name| name.strip_prefix("#/components/schemas/"))
            {
                wanted.insert(name.to_owned());
            }
            let kept = members.iter().filter(|(key, _)| {
                !matches!(key.as_str(), "nullable" | "example" | "examples" | "externalDocs")
            });
            let converted: Value = kept
                .map(|(key, value)| (key.clone(), convert(value, wanted)))
                .collect::<Map<_, _>>()
                .into();
            if members.get("nullable") == Some(&Value::Bool(true)) {
                json!({ "anyOf": [converted, { "type": "null" }] })
            } else {
                converted
            }
        }
        other => other.clone(),
    }
}

/// A GitHub with something of everything: jobs queued, running and ended, runners online, offline and busy.
fn populated() -> (Driver, Value) {
    let mut driver = Driver::new();
    driver.control("scopes", json!({ "path": "enterprises/big" }));
    driver.control("groups", json!({ "scope": "acme", "name": "more" }));
    for version in ["2.329.0", "2.330.0"] {
        driver.control(&format!("programs?version={version}&token=once"), json!("an archive"));
    }
    let set = driver.set("one", &["linux"]);
    let session = driver.session(set);
    let queued = driver.control(
        "jobs",
        json!({ "scope": "acme/app", "labels": ["linux"], "count": 3, "steps": ["true"] }),
    );
    driver.control("jobs", json!({ "scope": "acme/app", "labels": ["nobody"] }));
    driver.poll(&session, 0, 3).unwrap().ok(200);
    for (name, ends) in [("done", true), ("busy", false)] {
        let mut runner = driver.mint(set, name);
        driver.connect(&mut runner);
        let job = driver.take(&runner);
        if ends {
            let steps = json!([{ "name": "Run true", "conclusion": "succeeded", "startedAt": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:00:01Z" }]);
            let body = json!({ "jobID": job, "conclusion": "succeeded", "stepResults": steps });
            driver.runner_call(&runner, "POST", "/run-service/completejob", &body).ok(200);
        }
    }
    driver.mint(set, "never-connected");
    (driver, queued)
}

#[test]
#[ignore = "needs GitHub's OpenAPI description: tests/fetch-schemas.sh DIR, then DAYFLY_GITHUB_SCHEMAS=DIR"]
fn the_public_rest_answers_as_github_describes() {
    let description = Description(fetched("ghec.json"));
    let (mut driver, queued) = populated();
    let app = driver.control(
        "credentials",
        json!({ "type": "app", "installations": ["acme"], "events": ["workflow_job"] }),
    );
    let installation = app["installations"]["acme"].to_string();
    let key =
        jsonwebtoken::EncodingKey::from_rsa_pem(app["private_key"].as_str().unwrap().as_bytes())
            .unwrap();
    let claims = json!({ "iss": app["client_id"], "iat": driver.now.as_second() - 60, "exp": driver.now.as_second() + 480 });
    let signed = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256),
        &claims,
        &key,
    )
    .unwrap();
    let (run, job) = (queued["run_ids"][0].to_string(), queued["job_ids"][0].to_string());
    let busy = driver.look("state")["runners"]
        .as_array()
        .unwrap()
        .iter()
        .find(|runner| runner["name"] == "busy")
        .unwrap()["id"]
        .to_string();
    let second = driver.control("jobs", json!({ "scope": "acme/app", "labels": ["nobody"] }));
    let hook = |url: &str| json!({ "name": "web", "events": ["workflow_job"], "config": { "url": url, "content_type": "json", "insecure_ssl": "0" } });
    let mut hooked = |path: &str| {
        let id = driver.rest("POST", path, &hook("http://here.test/")).ok(201)["id"].to_string();
        driver.queue(&["nobody"], 1);
        for outgoing in driver.sim.take_deliveries(10) {
            driver.sim.delivered(driver.now, outgoing.id, Some(200));
        }
        let listed = driver.rest("GET", &format!("{path}/{id}/deliveries"), &Value::Null).ok(200);
        (id, listed[0]["id"].to_string())
    };
    let (repo_hook, repo_delivery) = hooked("/repos/acme/app/hooks");
    let (org_hook, org_delivery) = hooked("/orgs/acme/hooks");
    let fill = |path: &str| {
        let (hook, delivery) = if path.starts_with("/orgs") {
            (&org_hook, &org_delivery)
        } else {
            (&repo_hook, &repo_delivery)
        };
        path.replace("{org}", "acme")
            .replace("{hook_id}", hook)
            .replace("{delivery_id}", delivery)
            .replace("{enterprise}", "big")
            .replace("{owner}", "acme")
            .replace("{repo}", "app")
            .replace("{run_id}", &run)
            .replace("{job_id}", &job)
            .replace("{runner_id}", &busy)
            .replace("{runner_group_id}", "1")
            .replace("{attempt_number}", "1")
            .replace("{installation_id}", &installation)
            .replace("{version}", "2.329.0")
    };
    let jit = |name: &str| json!({ "name": name, "runner_group_id": 1, "labels": ["linux"] });
    let none = Value::Null;
    let cases = [
        ("get", "/orgs/{org}/actions/runners", none.clone(), "200"),
        ("get", "/repos/{owner}/{repo}/actions/runners", none.clone(), "200"),
        ("get", "/enterprises/{enterprise}/actions/runners", none.clone(), "200"),
        ("get", "/orgs/{org}/actions/runners/{runner_id}", none.clone(), "200"),
        ("delete", "/orgs/{org}/actions/runners/{runner_id}", none.clone(), "422"),
        ("post", "/orgs/{org}/actions/runners/registration-token", none.clone(), "201"),
        ("post", "/repos/{owner}/{repo}/actions/runners/registration-token", none.clone(), "201"),
        (
            "post",
            "/enterprises/{enterprise}/actions/runners/registration-token",
            none.clone(),
            "201",
        ),
        ("post", "/orgs/{org}/actions/runners/remove-token", none.clone(), "201"),
        ("post", "/orgs/{org}/actions/runners/generate-jitconfig", jit("jit"), "201"),
        ("post", "/orgs/{org}/actions/runners/generate-jitconfig", jit("jit"), "409"),
        ("post", "/orgs/{org}/actions/runners/generate-jitconfig", json!({}), "422"),
        ("post", "/repos/{owner}/{repo}/actions/runners/generate-jitconfig", jit("jit"), "201"),
        ("post", "/enterprises/{enterprise}/actions/runners/generate-jitconfig", jit("jit"), "201"),
        ("get", "/orgs/{org}/actions/runners/downloads", none.clone(), "200"),
        ("get", "/repos/{owner}/{repo}/actions/runners/downloads", none.clone(), "200"),
        ("get", "/enterprises/{enterprise}/actions/runners/downloads", none.clone(), "200"),
        ("get", "/orgs/{org}/actions/runners/deprecations/{version}", none.clone(), "200"),
        (
            "get",
            "/repos/{owner}/{repo}/actions/runners/deprecations/{version}",
            none.clone(),
            "200",
        ),
        (
            "get",
            "/enterprises/{enterprise}/actions/runners/deprecations/{version}",
            none.clone(),
            "200",
        ),
        ("get", "/orgs/{org}/actions/runner-groups", none.clone(), "200"),
        ("get", "/orgs/{org}/actions/runner-groups/{runner_group_id}", none.clone(), "200"),
        ("get", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners", none.clone(), "200"),
        ("get", "/enterprises/{enterprise}/actions/runner-groups", none.clone(), "200"),
        (
            "get",
            "/enterprises/{enterprise}/actions/runner-groups/{runner_group_id}",
            none.clone(),
            "200",
        ),
        ("get", "/repos/{owner}/{repo}/actions/runs", none.clone(), "200"),
        ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}", none.clone(), "200"),
        ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs", none.clone(), "200"),
        (
            "get",
            "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs",
            none.clone(),
            "200",
        ),
        ("get", "/repos/{owner}/{repo}/actions/jobs/{job_id}", none.clone(), "200"),
        ("get", "/rate_limit", none.clone(), "200"),
        ("get", "/meta", none.clone(), "200"),
        ("get", "/orgs/{org}/repos", none.clone(), "200"),
        ("get", "/orgs/{org}/hooks", none.clone(), "200"),
        ("post", "/orgs/{org}/hooks", hook("http://there.test/"), "201"),
        ("post", "/orgs/{org}/hooks", hook("nowhere"), "422"),
        ("get", "/orgs/{org}/hooks/{hook_id}", none.clone(), "200"),
        ("patch", "/orgs/{org}/hooks/{hook_id}", json!({ "active": true }), "200"),
        ("get", "/orgs/{org}/hooks/{hook_id}/deliveries", none.clone(), "200"),
        ("get", "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}", none.clone(), "200"),
        (
            "post",
            "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
            none.clone(),
            "202",
        ),
        ("get", "/repos/{owner}/{repo}/hooks", none.clone(), "200"),
        ("post", "/repos/{owner}/{repo}/hooks", hook("http://there.test/"), "201"),
        ("get", "/repos/{owner}/{repo}/hooks/{hook_id}", none.clone(), "200"),
        ("patch", "/repos/{owner}/{repo}/hooks/{hook_id}", json!({ "active": true }), "200"),
        ("get", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries", none.clone(), "200"),
        (
            "get",
            "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}",
            none.clone(),
            "200",
        ),
        (
            "post",
            "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
            none.clone(),
            "202",
        ),
        ("get", "/app/hook/config", none.clone(), "200"),
        (
            "patch",
            "/app/hook/config",
            json!({ "url": "http://here.test/app", "content_type": "json" }),
            "200",
        ),
        ("get", "/app/hook/deliveries", none.clone(), "200"),
        ("get", "/app/installations/{installation_id}", none.clone(), "200"),
        ("get", "/orgs/{org}/installation", none.clone(), "200"),
        ("get", "/repos/{owner}/{repo}/installation", none.clone(), "200"),
        ("post", "/app/installations/{installation_id}/access_tokens", none.clone(), "201"),
        (
            "post",
            "/app/installations/{installation_id}/access_tokens",
            json!({ "permissions": { "contents": "write" } }),
            "422",
        ),
        ("post", "/repos/{owner}/{repo}/actions/runs/{run_id}/cancel", none.clone(), "202"),
    ];
    let second_run = second["run_ids"][0].to_string();
    for (method, path, body, status) in cases {
        // The first run must stay for the others: another one is cancelled.
        let real = if path.ends_with("/cancel") {
            path.replace("{run_id}", &second_run)
        } else {
            path.to_owned()
        };
        let app_route = path.starts_with("/app") || path.ends_with("/installation");
        let token = if app_route { signed.clone() } else { driver.pat.clone() };
        let got =
            driver.call(&method.to_uppercase(), &fill(&real), &format!("Bearer {token}"), &body);
        assert_eq!(got.status.to_string(), status, "{method} {path}: {}", got.body);
        let schema = description
            .answer(method, path, status)
            .unwrap_or_else(|| panic!("no schema for {method} {path} {status}"));
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&got.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            wrong.is_empty(),
            "{method} {path} {status}:\n{}\n{:#}",
            wrong.join("\n"),
            got.body
        );
    }
    // The list's own schema is a copy in which an account has to be a user and an enterprise at once, which GitHub's answers are not
    // either: its items are checked as the single installation is.
    let all =
        driver.call("GET", "/app/installations", &format!("Bearer {signed}"), &Value::Null).ok(200);
    let schema = description.answer("get", "/app/installations/{installation_id}", "200").unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    assert!(all.as_array().unwrap().len() == 1 && validator.is_valid(&all[0]), "{all:#}");
    // What hooks are sent is what GitHub describes.
    driver.sim.take_deliveries(usize::MAX);
    let jit = json!({ "name": "hooked", "runner_group_id": 1, "labels": ["hooked"] });
    let jit = driver.rest("POST", "/orgs/acme/actions/runners/generate-jitconfig", &jit).ok(201);
    let mut runner = driver::runner_of(jit["encoded_jit_config"].as_str().unwrap());
    driver.connect(&mut runner);
    let spec = json!({ "scope": "acme/app", "labels": ["hooked"] });
    let held = driver.call("POST", "/control/jobs?held=1", "", &spec).ok(200);
    driver.control(&format!("jobs/{}/approve", held["job_ids"][0]), Value::Null);
    let taken = driver.take(&runner);
    driver.complete(&runner, &taken, "succeeded");
    let mut told = BTreeSet::new();
    for outgoing in driver.sim.take_deliveries(usize::MAX) {
        let payload: Value = serde_json::from_slice(outgoing.request.body()).unwrap();
        let action = payload["action"].as_str().unwrap().replace('_', "-");
        let schema = description.component(&format!("webhook-workflow-job-{action}"));
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&payload)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{action}:\n{}\n{payload:#}", wrong.join("\n"));
        told.insert(action);
    }
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        ["completed", "in-progress", "queued", "waiting"]
    );
    // The check itself can fail.
    let schema = description.answer("get", "/orgs/{org}/actions/runners", "200").unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    assert!(!validator.is_valid(&json!({ "total_count": 1, "runners": [{ "id": 1, "name": "x", "os": "linux", "busy": false, "labels": [] }] })));
}

#[test]
#[ignore = "needs GitHub's webhook examples: tests/fetch-schemas.sh DIR, then DAYFLY_GITHUB_SCHEMAS=DIR"]
fn the_job_type_reads_and_writes_githubs_examples() {
    let examples = fetched("webhooks-examples.json");
    let jobs =
        examples.as_array().unwrap().iter().find(|event| event["name"] == "workflow_job").unwrap();
    let jobs = jobs["examples"].as_array().unwrap();
    assert_eq!(jobs.len(), 8);
    for example in jobs {
        let original = &example["workflow_job"];
        let job: WorkflowJob = serde_json::from_value(original.clone())
            .unwrap_or_else(|error| panic!("{error}: {original:#}"));
        let written = serde_json::to_value(&job).unwrap();
        for (name, value) in original.as_object().unwrap() {
            if let (Some(steps), Some(originals)) =
                (written[name].as_array(), value.as_array().filter(|_| name == "steps"))
            {
                assert_eq!(steps.len(), originals.len());
                for (step, original) in steps.iter().zip(originals) {
                    for (member, value) in original.as_object().unwrap() {
                        assert_eq!(&step[member], value, "{member} of a step");
                    }
                }
            } else {
                assert_eq!(&written[name], value, "{name}");
            }
        }
    }
}
