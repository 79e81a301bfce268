//! The stand-in runner as a process, against the simulated GitHub over HTTP: output, files, hooks, signals, exit codes.
//!
//! Has a `main` of its own because the program under test is this one, started again with the word `stub`.

#![expect(clippy::unwrap_used, reason = "a test ends with what it did not expect")]
#![expect(clippy::needless_pass_by_value, reason = "a body is written where it is used")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test that waits for processes needs the machine's clock"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use dayfly_github_sim::{Server, SimConfig, serve};
use dayfly_runner_stub::StubArgs;
use serde_json::{Value, json};

/// Far above what any step here needs: only a hang is caught.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "stub") {
        let wrapper = arguments.iter().any(|argument| argument == "run");
        let jitconfig = arguments
            .iter()
            .position(|argument| argument == "--jitconfig")
            .map(|at| arguments[at + 1].clone());
        return dayfly_runner_stub::main(&StubArgs { jitconfig, root: ".".into(), wrapper });
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut failed = 0;
    for (name, test) in
        TESTS.iter().filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted.as_str())))
    {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    ExitCode::from(u8::from(failed > 0))
}

const TESTS: &[(&str, fn())] = &[
    ("a_job_from_the_environment", a_job_from_the_environment),
    ("the_first_step_begins_soon", the_first_step_begins_soon),
    ("a_failed_step_fails_the_job", a_failed_step_fails_the_job),
    ("hooks_run_around_the_steps", hooks_run_around_the_steps),
    ("a_cancellation_ends_all_that_a_step_started", a_cancellation_ends_all_that_a_step_started),
    ("an_interrupt_is_polite", an_interrupt_is_polite),
    ("root_is_refused_unless_allowed", root_is_refused_unless_allowed),
    ("ends_without_a_job", ends_without_a_job),
    ("the_wrapper_hides_failures_and_restarts", the_wrapper_hides_failures_and_restarts),
    ("an_old_version_is_told", an_old_version_is_told),
    ("a_broken_connection_costs_no_job", a_broken_connection_costs_no_job),
    (
        "a_second_runner_with_the_same_configuration_waits",
        a_second_runner_with_the_same_configuration_waits,
    ),
];

struct World {
    runtime: tokio::runtime::Runtime,
    server: Server,
    http: reqwest::Client,
    token: String,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            serve(listener, SimConfig::default()).unwrap()
        });
        let http = reqwest::Client::builder().user_agent("test").build().unwrap();
        let mut world = Self { runtime, server, http, token: String::new() };
        world.control("scopes", json!({ "path": "acme/app" }));
        world.token = world.control("credentials", json!({ "type": "pat" }))["token"]
            .as_str()
            .unwrap()
            .to_owned();
        world
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.server.url());
        let request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&self.token)
            .body(body.to_string());
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            assert!(status.is_success(), "{method} {path}: {status} {text}");
            serde_json::from_str(&text).unwrap_or(Value::Null)
        })
    }

    fn control(&self, path: &str, body: Value) -> Value {
        self.call("POST", &format!("/control/{path}"), &body)
    }

    fn mint(&self, name: &str) -> (String, i64) {
        let body = json!({ "name": name, "runner_group_id": 1, "labels": ["linux"] });
        let made = self.call("POST", "/api/v3/orgs/acme/actions/runners/generate-jitconfig", &body);
        (
            made["encoded_jit_config"].as_str().unwrap().to_owned(),
            made["runner"]["id"].as_i64().unwrap(),
        )
    }

    fn queue(&self, steps: &[&str]) -> i64 {
        let queued = self
            .control("jobs", json!({ "scope": "acme/app", "labels": ["linux"], "steps": steps }));
        queued["job_ids"][0].as_i64().unwrap()
    }

    fn job(&self, id: i64) -> Value {
        self.call("GET", &format!("/control/jobs/{id}"), &Value::Null)
    }

    fn wait_for(&self, what: &str, path: &str, seen: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let state = self.call("GET", path, &Value::Null);
            if seen(&state) {
                return state;
            }
            assert!(begin.elapsed() < PATIENCE, "no {what}: {state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for_online(&self, count: u64) {
        self.wait_for("runner online", "/control/summary", |summary| {
            summary["runners"]["online"] == count
        });
    }
}

/// A stub process in a directory of its own; killed when the test ends early.
struct Stub {
    child: Child,
    root: tempfile::TempDir,
}

/// How a stub ended.
struct Ended {
    code: i32,
    output: String,
    root: tempfile::TempDir,
}

impl Stub {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg("stub")
            .args(arguments)
            .current_dir(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let all: BTreeMap<&str, &str> = [("RUNNER_ALLOW_RUNASROOT", "1")]
            .into_iter()
            .chain(environment.iter().copied())
            .collect();
        Self { child: command.envs(all).spawn().unwrap(), root }
    }

    fn with(blob: &str, environment: &[(&str, &str)]) -> Self {
        let all: Vec<(&str, &str)> = [("ACTIONS_RUNNER_INPUT_JITCONFIG", blob)]
            .into_iter()
            .chain(environment.iter().copied())
            .collect();
        Self::start(&[], &all)
    }

    fn interrupt(&self) {
        let status =
            Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn end(mut self) -> Ended {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("the runner does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut output).unwrap();
        Ended { code: status.code().unwrap(), output, root: self.root }
    }
}

impl Ended {
    #[track_caller]
    fn check(&self, code: i32, said: &[&str]) {
        for line in said {
            assert!(self.output.contains(line), "no `{line}` in:\n{}", self.output);
        }
        assert_eq!(self.code, code, "{}", self.output);
    }
}

fn a_job_from_the_environment() {
    let world = World::new();
    let (blob, _) = world.mint("r-1");
    let job = world.queue(&[
        "stat -c 'mode %a %n' ../../../.runner ../../../.credentials ../../../.credentials_rsaparams",
        "env | grep -c ACTIONS_RUNNER_INPUT || echo hidden",
        "echo \"$GITHUB_REPOSITORY $GITHUB_JOB $RUNNER_NAME\"; test \"$PWD\" = \"$GITHUB_WORKSPACE\"",
    ]);
    let ended = Stub::with(&blob, &[]).end();
    ended.check(
        0,
        &[
            "√ Connected to GitHub",
            "Current runner version: '2.",
            "Z: Listening for Jobs",
            "Z: Running job: build",
            "Z: Job build completed with result: Succeeded",
        ],
    );
    let job = world.job(job);
    let log = job["log"].as_str().unwrap();
    for file in [".runner", ".credentials", ".credentials_rsaparams"] {
        assert!(log.contains(&format!("mode 600 ../../../{file}\n")), "{log}");
        assert!(!ended.root.path().join(file).exists(), "{file} is left");
    }
    assert!(log.contains("hidden\n") && log.contains("acme/app build r-1\n"), "{log}");
    assert_eq!(
        (&job["conclusion"], job["steps"].as_array().unwrap().len()),
        (&json!("success"), 3)
    );
    let diagnosis =
        std::fs::read_dir(ended.root.path().join("_diag")).unwrap().next().unwrap().unwrap();
    let written = std::fs::read_to_string(diagnosis.path()).unwrap();
    assert!(written.contains("Running job: build"));
    assert!(
        !written.contains(&blob[..40]) && !ended.output.contains(&blob[..40]),
        "the configuration is shown"
    );
    assert_eq!(world.call("GET", "/control/summary", &Value::Null)["runners"]["total"], 0);
}

/// Not a limit: prints what the measured path costs, and fails only when it is absurd.
fn the_first_step_begins_soon() {
    let world = World::new();
    let mut waits = Vec::new();
    for index in 0..5 {
        let (blob, _) = world.mint(&format!("r-{index}"));
        let job = world.queue(&["true"]);
        let begin = world.call("GET", "/control/state", &Value::Null)["now"].as_f64().unwrap();
        Stub::with(&blob, &[]).end().check(0, &[]);
        waits.push((world.job(job)["first_step_at"].as_f64().unwrap() - begin) * 1000.0);
    }
    waits.sort_by(f64::total_cmp);
    println!("process started to first step: {waits:.1?} ms");
    assert!(waits[2] < 5_000.0);
}

fn a_failed_step_fails_the_job() {
    let world = World::new();
    let (blob, _) = world.mint("r");
    let job = world.queue(&["echo one; false; echo never", "echo two"]);
    Stub::start(&["--jitconfig", &blob], &[])
        .end()
        .check(0, &["Job build completed with result: Failed"]);
    let job = world.job(job);
    assert_eq!((&job["conclusion"], &job["log"]), (&json!("failure"), &json!("one\n")));
    let ends: Vec<&str> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["conclusion"].as_str().unwrap())
        .collect();
    assert_eq!(ends, ["failed", "skipped"]);
}

fn hooks_run_around_the_steps() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let hook = |name: &str, line: &str| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, line).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (started, completed, failing) = (
        hook("a.sh", "echo before in $GITHUB_JOB"),
        hook("b.sh", "echo after"),
        hook("c.sh", "exit 3"),
    );
    for (first, last, conclusion, log) in [
        (&started, &completed, "success", "before in build\nstep\nafter\n"),
        (&failing, &completed, "failure", "after\n"),
        (&started, &failing, "failure", "before in build\nstep\n"),
    ] {
        let (blob, _) = world.mint("r");
        let job = world.queue(&["echo step"]);
        let hooks = [
            ("ACTIONS_RUNNER_HOOK_JOB_STARTED", first.as_str()),
            ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", last.as_str()),
        ];
        Stub::with(&blob, &hooks).end().check(0, &[]);
        let job = world.job(job);
        assert_eq!((&job["conclusion"], &job["log"]), (&json!(conclusion), &json!(log)), "{job}");
    }
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"))
        .unwrap_or_default();
    // One that nobody has reaped yet is as dead.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

fn a_cancellation_ends_all_that_a_step_started() {
    let world = World::new();
    let (blob, _) = world.mint("r");
    let job = world.queue(&["trap '' TERM; sleep 1000 & echo $! > pid; sleep 1000", "echo never"]);
    let stub = Stub::with(&blob, &[]);
    world.wait_for("first step", &format!("/control/jobs/{job}"), |job| {
        job["first_step_at"].is_number()
    });
    let file = stub.root.path().join("_work/app/app/pid");
    let begin = Instant::now();
    let pid = loop {
        match std::fs::read_to_string(&file) {
            Ok(pid) if pid.ends_with('\n') => break pid,
            _ => assert!(begin.elapsed() < PATIENCE, "no pid"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(alive(&pid));
    world.control(&format!("jobs/{job}/cancel"), Value::Null);
    stub.end().check(0, &["Job build completed with result: Canceled"]);
    assert!(!alive(&pid), "a process of the step is left");
    let job = world.job(job);
    assert_eq!(job["conclusion"], "cancelled");
    assert_eq!(job["steps"][1]["conclusion"], "skipped");
}

fn an_interrupt_is_polite() {
    let world = World::new();
    let (blob, _) = world.mint("idle");
    let stub = Stub::with(&blob, &[]);
    world.wait_for_online(1);
    stub.interrupt();
    stub.end().check(0, &["Exiting..."]);
    world.wait_for_online(0);
    let (blob, _) = world.mint("busy");
    let job = world.queue(&["sleep 1000"]);
    let stub = Stub::with(&blob, &[]);
    world.wait_for("first step", &format!("/control/jobs/{job}"), |job| {
        job["first_step_at"].is_number()
    });
    stub.interrupt();
    stub.end().check(0, &["completed with result: Canceled"]);
    assert_eq!(world.job(job)["conclusion"], "cancelled");
}

fn root_is_refused_unless_allowed() {
    let world = World::new();
    let (blob, _) = world.mint("r");
    world.queue(&["true"]);
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let ended = Stub::with(&blob, &[("RUNNER_ALLOW_RUNASROOT", "")]).end();
    ended.check(i32::from(root), if root { &["Must not run with sudo"] } else { &["Succeeded"] });
}

fn ends_without_a_job() {
    let world = World::new();
    Stub::start(&[], &[]).end().check(1, &["Not configured"]);
    Stub::with("bm90IGpzb24=", &[])
        .end()
        .check(1, &["the JIT configuration is not base64 of JSON"]);
    let (blob, id) = world.mint("removed");
    let stub = Stub::with(&blob, &[]);
    world.wait_for_online(1);
    world.control(&format!("runners/{id}/remove"), Value::Null);
    let ended = stub.end();
    ended
        .check(0, &["The runner no longer exists on the server. Cleaning up local configuration."]);
    assert!(!ended.root.path().join(".credentials").exists());
    // And when it is started again.
    Stub::with(&blob, &[])
        .end()
        .check(1, &["The runner registration has been deleted from the server"]);
}

fn the_wrapper_hides_failures_and_restarts() {
    let world = World::new();
    Stub::start(&["run"], &[("ACTIONS_RUNNER_INPUT_JITCONFIG", "bm90IGpzb24=")])
        .end()
        .check(0, &[]);
    let nonsense =
        json!({ "route": "broker.session_create", "action": { "do": "empty200" }, "count": 1 });
    let (blob, _) = world.mint("r");
    let job = world.queue(&["true"]);
    world.control("faults", nonsense.clone());
    Stub::with(&blob, &[]).end().check(2, &["the answer is not what it should be"]);
    // The lost answer left a session behind, which the first runner cannot know of.
    world.call("POST", "/control/faults", &nonsense);
    world.wait_for("counter", "/control/counters", |counters| {
        counters["broker.session_create"]["requests"] == 1
    });
    let (blob, _) = world.mint("s");
    Stub::start(&["run"], &[("ACTIONS_RUNNER_INPUT_JITCONFIG", &blob)]).interrupt_when(&world);
    assert_eq!(world.job(job)["conclusion"], Value::Null);
}

impl Stub {
    /// Interrupts a wrapper once it has started its listener a second time, which finds its own lost session.
    fn interrupt_when(self, world: &World) {
        world.wait_for("refusal", "/control/counters", |counters| {
            counters["broker.session_create"]["statuses"]["409"] == 1
        });
        self.interrupt();
        let ended = self.end();
        ended.check(
            0,
            &["the answer is not what it should be", "A session for this runner already exists."],
        );
    }
}

fn an_old_version_is_told() {
    let world = World::new();
    let body = json!({ "source": "actions-broker-listener", "errorKind": "RunnerVersionTooOld", "errorMessage": "too old" });
    world.control("faults", json!({ "route": "broker.session_create", "action": { "do": "status", "status": 403, "body": body } }));
    let said = ["is deprecated and cannot receive messages."];
    let (blob, _) = world.mint("r");
    Stub::with(&blob, &[]).end().check(1, &said);
    let asks = ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1");
    Stub::with(&blob, &[asks]).end().check(7, &said);
    Stub::start(&["run"], &[asks, ("ACTIONS_RUNNER_INPUT_JITCONFIG", &blob)]).end().check(7, &said);
    Stub::start(&["run"], &[("ACTIONS_RUNNER_INPUT_JITCONFIG", &blob)]).end().check(0, &said);
}

fn a_broken_connection_costs_no_job() {
    let world = World::new();
    for (route, action) in [
        ("broker.message", json!({ "do": "reset_after" })),
        ("broker.message", json!({ "do": "truncate", "bytes": 20 })),
        ("broker.token", json!({ "do": "status", "status": 503 })),
        ("broker.message", json!({ "do": "status", "status": 502 })),
    ] {
        let (blob, _) = world.mint("r");
        let job = world.queue(&["true"]);
        world.control("faults", json!({ "route": route, "action": action, "count": 1 }));
        Stub::with(&blob, &[]).end().check(0, &["Retrying until reconnected.", "Succeeded"]);
        assert_eq!(world.job(job)["conclusion"], "success", "{route} {action}");
    }
}

fn a_second_runner_with_the_same_configuration_waits() {
    let world = World::new();
    let (blob, _) = world.mint("r");
    let first = Stub::with(&blob, &[]);
    world.wait_for_online(1);
    let second = Stub::with(&blob, &[]);
    world.wait_for("refusal", "/control/counters", |counters| {
        counters["broker.session_create"]["statuses"]["409"] == 1
    });
    second.interrupt();
    second.end().check(0, &["A session for this runner already exists."]);
    let job = world.queue(&["true"]);
    first.end().check(0, &["Succeeded"]);
    assert_eq!(world.job(job)["conclusion"], "success");
}
