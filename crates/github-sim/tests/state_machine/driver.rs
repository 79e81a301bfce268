//! Drives a [`Sim`] call by call on a clock of its own.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dayfly_github_sim::{Answer, HoldId, Options, Sim, SimConfig};
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub const SERVICE: &str = "/services/tenant-7f3a/_apis/runtime";
pub const AGENTS: &str = "/services/tenant-7f3a/_apis/distributedtask/pools/0/agents";

pub struct Driver {
    pub sim: Sim,
    pub now: Timestamp,
    pub pat: String,
    /// Admin tokens by scope.
    admins: BTreeMap<String, String>,
}

/// An answer, read.
#[derive(Debug, Clone)]
pub struct Got {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub bytes: Bytes,
    pub body: Value,
}

impl Got {
    fn new(response: Response<Bytes>) -> Self {
        let (parts, bytes) = response.into_parts();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status: parts.status.as_u16(), headers: parts.headers, bytes, body }
    }

    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.body
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A session as a client holds it.
#[derive(Debug, Clone)]
pub struct Session {
    pub set: i64,
    pub id: String,
    pub url: String,
    pub token: String,
    pub statistics: Value,
}

/// A runner that speaks the broker's language, with a key of its configuration.
pub struct Runner {
    pub id: i64,
    pub client: String,
    key: jsonwebtoken::EncodingKey,
    pub token: String,
    pub session: String,
}

impl Driver {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut driver = Self {
            sim: Sim::new(SimConfig { seed: 7, options }),
            now,
            pat: String::new(),
            admins: BTreeMap::new(),
        };
        driver.control("scopes", json!({ "path": "acme/app" }));
        let made = driver.control("credentials", json!({ "type": "pat" }));
        driver.pat = made["token"].as_str().unwrap().to_owned();
        driver
    }

    /// One that asks clients to acquire.
    pub fn acquiring() -> Self {
        let mut driver = Self::new();
        driver.control("scopes", json!({ "path": "acme", "assignment": "acquire" }));
        driver
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.sim.tick(self.now);
    }

    pub fn raw(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "sim.test");
        if !headers.iter().any(|(name, _)| *name == "user-agent") {
            request = request.header("user-agent", "test");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        self.sim.handle(self.now, &request.body(body.into()).unwrap())
    }

    #[track_caller]
    pub fn call(&mut self, method: &str, path: &str, authorization: &str, body: &Value) -> Got {
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        match self.raw(method, path, &[("authorization", authorization)], bytes) {
            Answer::Respond(response) => Got::new(response),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// A call of the public REST with the first credential.
    #[track_caller]
    pub fn rest(&mut self, method: &str, path: &str, body: &Value) -> Got {
        let authorization = format!("Bearer {}", self.pat);
        self.call(method, &format!("/api/v3{path}"), &authorization, body)
    }

    #[track_caller]
    pub fn control(&mut self, path: &str, body: Value) -> Value {
        self.call("POST", &format!("/control/{path}"), "", &body).ok(200)
    }

    #[track_caller]
    pub fn look(&mut self, path: &str) -> Value {
        self.call("GET", &format!("/control/{path}"), "", &Value::Null).ok(200)
    }

    /// A fresh admin token of a scope.
    #[track_caller]
    pub fn sign_in(&mut self, scope: &str) -> String {
        let prefix = match scope.split('/').collect::<Vec<_>>()[..] {
            ["enterprises", _] => format!("/{scope}"),
            [_, _] => format!("/repos/{scope}"),
            _ => format!("/orgs/{scope}"),
        };
        let made = self
            .rest("POST", &format!("{prefix}/actions/runners/registration-token"), &Value::Null)
            .ok(201);
        let body =
            json!({ "url": format!("https://sim.test/{scope}"), "runner_event": "register" });
        let authorization = format!("RemoteAuth {}", made["token"].as_str().unwrap());
        let admin =
            self.call("POST", "/api/v3/actions/runner-registration", &authorization, &body).ok(200);
        assert!(admin["url"].as_str().unwrap().ends_with("/services/tenant-7f3a/"));
        let token = admin["token"].as_str().unwrap().to_owned();
        self.admins.insert(scope.to_owned(), token.clone());
        token
    }

    /// A call of the Actions service for `acme`; the path's query may be there already.
    #[track_caller]
    pub fn service(&mut self, method: &str, path: &str, body: &Value) -> Got {
        self.service_of("acme", method, path, body)
    }

    #[track_caller]
    pub fn service_of(&mut self, scope: &str, method: &str, path: &str, body: &Value) -> Got {
        let token = match self.admins.get(scope) {
            Some(token) => token.clone(),
            None => self.sign_in(scope),
        };
        let joint = if path.contains('?') { '&' } else { '?' };
        let root = if path.starts_with("/services") { "" } else { SERVICE };
        let path = format!("{root}{path}{joint}api-version=6.0-preview");
        self.call(method, &path, &format!("Bearer {token}"), body)
    }

    #[track_caller]
    pub fn set(&mut self, name: &str, labels: &[&str]) -> i64 {
        let labels: Vec<Value> =
            labels.iter().map(|name| json!({ "type": "System", "name": name })).collect();
        let body = json!({ "name": name, "runnerGroupId": 1, "labels": labels });
        self.service("POST", "/runnerscalesets", &body).ok(200)["id"].as_i64().unwrap()
    }

    #[track_caller]
    pub fn session(&mut self, set: i64) -> Session {
        let body =
            json!({ "ownerName": "here", "sessionId": "00000000-0000-0000-0000-000000000000" });
        let made = self.service("POST", &format!("/runnerscalesets/{set}/sessions"), &body).ok(200);
        session_of(set, &made)
    }

    /// A poll, as it is answered now: a message, nothing (202), or held.
    pub fn poll(&mut self, session: &Session, cursor: i64, capacity: i64) -> Result<Got, HoldId> {
        let mut url = session.url.clone();
        if cursor > 0 {
            url.push_str(&format!("&lastMessageId={cursor}"));
        }
        let authorization = format!("Bearer {}", session.token);
        let capacity = capacity.to_string();
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-scalesetmaxcapacity", capacity.as_str()),
        ];
        match self.raw("GET", &url, &headers, "") {
            Answer::Respond(response) => Ok(Got::new(response)),
            Answer::Hold(id) => Err(id),
            other => panic!("{other:?}"),
        }
    }

    /// What a held request hears now.
    pub fn held(&mut self, id: HoldId) -> Option<Got> {
        match self.sim.held(self.now, id) {
            Some(Answer::Respond(response)) => Some(Got::new(response)),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn acknowledge(&mut self, session: &Session, id: i64) -> Got {
        let url = session.url.replace("/message?", &format!("/message/{id}?"));
        let authorization = format!("Bearer {}", session.token);
        self.call("DELETE", &url, &authorization, &Value::Null)
    }

    pub fn queue(&mut self, labels: &[&str], count: usize) -> Vec<i64> {
        let queued = self.control(
            "jobs",
            json!({ "scope": "acme/app", "labels": labels, "count": count, "steps": ["true"] }),
        );
        queued["job_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
    }

    #[track_caller]
    pub fn job(&mut self, id: i64) -> Value {
        self.look(&format!("jobs/{id}"))
    }

    #[track_caller]
    pub fn mint(&mut self, set: i64, name: &str) -> Runner {
        let body = json!({ "name": name, "workFolder": "" });
        let made = self
            .service("POST", &format!("/runnerscalesets/{set}/generatejitconfig"), &body)
            .ok(200);
        runner_of(made["encodedJITConfig"].as_str().unwrap())
    }

    /// Trades the runner's assertion for a token.
    pub fn runner_token(&mut self, runner: &Runner) -> Got {
        let claims = json!({ "sub": runner.client, "exp": self.now.as_second() + 300 });
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        let assertion = jsonwebtoken::encode(&header, &claims, &runner.key).unwrap();
        match self.raw("POST", "/broker-oauth/token", &[], format!("client_assertion={assertion}"))
        {
            Answer::Respond(response) => Got::new(response),
            other => panic!("{other:?}"),
        }
    }

    pub fn runner_call(&mut self, runner: &Runner, method: &str, path: &str, body: &Value) -> Got {
        self.call(method, path, &format!("Bearer {}", runner.token), body)
    }

    /// Token and session.
    #[track_caller]
    pub fn connect(&mut self, runner: &mut Runner) {
        runner.token =
            self.runner_token(runner).ok(200)["access_token"].as_str().unwrap().to_owned();
        let opened = self.runner_call(runner, "POST", "/broker/session", &json!({})).ok(200);
        runner.session = opened["sessionId"].as_str().unwrap().to_owned();
    }

    pub fn runner_poll(&mut self, runner: &Runner) -> Result<Got, HoldId> {
        let authorization = format!("Bearer {}", runner.token);
        let path = format!("/broker/message?sessionId={}&status=Online", runner.session);
        match self.raw("GET", &path, &[("authorization", &authorization)], "") {
            Answer::Respond(response) => Ok(Got::new(response)),
            Answer::Hold(id) => Err(id),
            other => panic!("{other:?}"),
        }
    }

    /// Polls, and takes the job that is there. Returns what names it.
    #[track_caller]
    pub fn take(&mut self, runner: &Runner) -> String {
        let message = self.runner_poll(runner).expect("a job at once").ok(200);
        let body: Value = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
        let job = body["runner_request_id"].as_str().unwrap().to_owned();
        self.runner_call(
            runner,
            "POST",
            "/run-service/acquirejob",
            &json!({ "jobMessageId": job }),
        )
        .ok(200);
        job
    }

    #[track_caller]
    pub fn complete(&mut self, runner: &Runner, job: &str, conclusion: &str) {
        let body = json!({ "jobID": job, "conclusion": conclusion });
        self.runner_call(runner, "POST", "/run-service/completejob", &body).ok(200);
    }
}

pub fn session_of(set: i64, made: &Value) -> Session {
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Session {
        set,
        id: text("sessionId"),
        url: text("messageQueueUrl").replace("http://sim.test", ""),
        token: text("messageQueueAccessToken"),
        statistics: made["statistics"].clone(),
    }
}

/// Reads a just-in-time configuration as a runner would.
pub fn runner_of(blob: &str) -> Runner {
    let decode =
        |text: &str| -> Value { serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap() };
    let files = decode(blob);
    let file = |name: &str| decode(files[name].as_str().unwrap());
    let settings = file(".runner");
    // The private halves are the repository's own test keys.
    let params = file(".credentials_rsaparams");
    Runner {
        id: settings["AgentId"].as_str().unwrap().parse().unwrap(),
        client: file(".credentials")["data"]["clientId"].as_str().unwrap().to_owned(),
        key: private_key(&params),
        token: String::new(),
        session: String::new(),
    }
}

/// PKCS #1 of the components, with lengths that fit a key of 2048 bits.
fn private_key(params: &Value) -> jsonwebtoken::EncodingKey {
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }
    let mut body = vec![0x02, 0x01, 0x00];
    for name in ["modulus", "exponent", "d", "p", "q", "dp", "dq", "inverseQ"] {
        let bytes = STANDARD.decode(params[name].as_str().unwrap()).unwrap();
        let content = if bytes[0] & 0x80 == 0 { bytes } else { [&[0], &bytes[..]].concat() };
        body.extend(if content.len() < 0x80 {
            [&[0x02, u8::try_from(content.len()).unwrap()], &content[..]].concat()
        } else if content.len() < 0x100 {
            [&[0x02, 0x81, u8::try_from(content.len()).unwrap()], &content[..]].concat()
        } else {
            element(0x02, &content)
        });
    }
    jsonwebtoken::EncodingKey::from_rsa_der(&element(0x30, &body))
}

/// The entries of a message, as `Type:number of the job's name`.
pub fn entries(message: &Value) -> Vec<Value> {
    serde_json::from_str(message["body"].as_str().unwrap()).unwrap()
}

/// Types of a message's entries with their result, in order.
pub fn kinds(message: &Value) -> Vec<String> {
    let shown = |entry: &Value| {
        let kind = entry["messageType"].as_str().unwrap().trim_start_matches("Job").to_owned();
        entry["result"].as_str().map_or(kind.clone(), |result| format!("{kind}({result})"))
    };
    entries(message).iter().map(shown).collect()
}

/// `available acquired assigned running registered busy idle`.
pub fn statistics(of: &Value) -> [i64; 7] {
    [
        "AvailableJobs",
        "AcquiredJobs",
        "AssignedJobs",
        "RunningJobs",
        "RegisteredRunners",
        "BusyRunners",
        "IdleRunners",
    ]
    .map(|name| of[format!("total{name}")].as_i64().unwrap())
}
