//! Bad input gets a clear error with its place, the remedy and the documented exit code, and no secret is repeated.

use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    processes::DAYFLY,
    site::{Setup, Site, TOKEN},
};

/// A configuration that is right but for what a case changes.
const GOOD: &str = "\
github: [{ url: BASE/acme, auth: { token: file:token } }]
backends: { it: { process: { directory: instances } } }
pools:
  - name: e2e
    labels: [linux]
    demand: scale-set
    backends: [it]
    image: IMAGE
    environment: { RUNNER_ALLOW_RUNASROOT: \"1\" }
    max: 2
store: { sqlite: dayfly.db }
";

struct Bench {
    site: Site,
}

impl Bench {
    async fn new() -> Self {
        Self { site: Site::new(Setup::default()).await }
    }

    /// Runs a command on the good configuration with `from` replaced by `to`.
    fn run(&self, command: &str, from: &str, to: &str) -> Output {
        assert!(GOOD.contains(from), "{from}");
        self.run_text(command, &GOOD.replacen(from, to, 1))
    }

    /// Runs a command on a configuration of its own.
    fn run_text(&self, command: &str, text: &str) -> Output {
        let runner = self.site.path("runner").display().to_string();
        let text = text.replace("BASE", &self.site.github.base).replace("IMAGE", &runner);
        let path = self.site.path("case.yaml");
        std::fs::write(&path, text).unwrap();
        let mut line = self.site.command(&[command, "--config"]);
        line.arg(path).output().unwrap()
    }

    /// Checks what comes of it.
    fn check(&self, command: &str, (from, to): (&str, &str), code: i32, words: &[&str]) {
        check(&self.run(command, from, to), to, code, words);
    }
}

fn check(output: &Output, case: &str, code: i32, words: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{case}: {text}");
    assert!(!text.contains("error: error"), "{case}: it says twice that it is an error: {text}");
    for word in words {
        assert!(text.contains(word), "{case}: `{word}` is not said: {text}");
    }
    for secret in [TOKEN, SECRET] {
        assert!(!text.contains(secret), "{case}: a secret is repeated: {text}");
    }
}

/// A secret that a careless user writes where it must not be.
const SECRET: &str = "ghp_carelesscarelesscarelesscareless12";

#[tokio::test]
async fn a_wrong_configuration() {
    let bench = Bench::new().await;
    let secret = format!("token: {SECRET}");
    let twice = "    max: 2\n  - { name: e2e, labels: [x], demand: scale-set, backends: [it], image: x, max: 1 }\n";
    let same_set = "    max: 2\n  - { name: other, scale_set: e2e, labels: [x], demand: scale-set, backends: [it], image: x, max: 1 }\n";
    for (change, words) in [
        (("max: 2", "maxx: 2"), vec!["maxx", "case.yaml:10"]),
        (("max: 2", "max: many"), vec!["max", "case.yaml:10"]),
        (("max: 2", "max: 2\n    memory: 4 bananas"), vec!["memory", "case.yaml:11"]),
        (("max: 2", "max: 2\n    warm: 3"), vec!["warm"]),
        (("    max: 2\n", twice), vec!["e2e"]),
        (("    max: 2\n", same_set), vec!["e2e"]),
        (("labels: [linux]", "labels: [\"\"]"), vec!["label", "case.yaml:5"]),
        (("name: e2e", "name: E2E_"), vec!["E2E_", "case.yaml:4"]),
        (("token: file:token", secret.as_str()), vec!["case.yaml:1", "file:"]),
        (("demand: scale-set", "demand: poll"), vec!["not in this version", "case.yaml:6"]),
        (("demand: scale-set", "demand: webhook"), vec!["no webhooks are taken", "case.yaml:6"]),
        (("process: { directory: instances }", "tart: {}"), vec!["not in this version"]),
        (("backends: [it]", "backends: [that]"), vec!["that", "case.yaml:7"]),
        (("url: BASE/acme", "url: BASE"), vec!["case.yaml:1"]),
        (("store: {", "store: ["), vec!["case.yaml"]),
    ] {
        for command in ["check", "run"] {
            bench.check(command, change, 3, &words);
        }
    }
    check(
        &bench.site.run(&["run", "--config", "/nonexistent.yaml"]),
        "no file",
        3,
        &["/nonexistent.yaml"],
    );
}

#[tokio::test]
async fn a_wrong_secret() {
    let bench = Bench::new().await;
    bench.check("run", ("file:token", "file:absent"), 4, &["absent", "hint: "]);
    bench.check("check", ("file:token", "file:absent"), 4, &["absent"]);
    bench.check("run", ("file:token", "env:NOT_SET_ANYWHERE"), 4, &["NOT_SET_ANYWHERE", "hint: "]);
    let loose = bench.site.write_secret("loose", SECRET);
    std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o644)).unwrap();
    bench.check("run", ("file:token", "file:loose"), 4, &["loose", "0644", "chmod 600"]);
    bench.check("run", (", auth: { token: file:token }", ""), 4, &["no credential", "--token"]);

    let path = bench.site.path("case.yaml");
    let mut line = bench.site.command(&["run", "--token", SECRET, "--config"]);
    check(&line.arg(path).output().unwrap(), "a token as an argument", 2, &["--token", "hint: "]);
}

#[tokio::test]
async fn a_credential_that_github_refuses() {
    let bench = Bench::new().await;
    let github = &bench.site.github;
    bench.site.write_secret("wrong", SECRET);
    bench.check("check", ("file:token", "file:wrong"), 4, &["401"]);

    let weak = "ghp_weakweakweakweakweakweakweakweakweak1";
    github
        .post("credentials", &json!({ "type": "pat", "token": weak, "permissions": ["repo"] }))
        .await;
    bench.site.write_secret("weak", weak);
    bench.check("check", ("file:token", "file:weak"), 4, &["admin:org"]);

    bench.check("check", ("url: BASE/acme", "url: BASE/nobody"), 4, &["nobody"]);
    bench.check(
        "check",
        ("labels: [linux]", "labels: [linux]\n    group: no-such-group"),
        4,
        &["no-such-group"],
    );

    let app =
        github.post("credentials", &json!({ "type": "app", "installations": ["acme"] })).await;
    bench.site.write_secret("key", app["private_key"].as_str().unwrap());
    let auth = "{ app: { client_id: x, private_key: file:key } }";
    bench.check(
        "check",
        ("BASE/acme, auth: { token: file:token }", &format!("BASE/enterprises/big, auth: {auth}")),
        3,
        &["enterprise"],
    );
}

#[tokio::test]
async fn an_engine_that_is_not_there() {
    let bench = Bench::new().await;
    let docker = "docker: { host: \"unix:///nonexistent/docker.sock\" }";
    bench.check(
        "check",
        ("process: { directory: instances }", docker),
        5,
        &["/nonexistent/docker.sock"],
    );
    bench.check(
        "check",
        ("image: IMAGE", "image: /nonexistent/runner"),
        5,
        &["/nonexistent/runner"],
    );
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn an_image_that_is_not_there() {
    let bench = Bench::new().await;
    let socket = crate::docker::engine();
    let docker = format!("docker: {{ host: \"unix://{}\" }}", socket.display());
    let text = GOOD
        .replace("process: { directory: instances }", &docker)
        .replace("image: IMAGE", "image: \"no-such-image:1\"\n    pull: never")
        .replace("BASE", &bench.site.github.base);
    let path = bench.site.path("case.yaml");
    std::fs::write(&path, text).unwrap();
    let mut line = bench.site.command(&["check", "--config"]);
    check(&line.arg(path).output().unwrap(), "no image", 5, &["no-such-image:1"]);
}

#[tokio::test]
async fn a_store_that_cannot_be_used() {
    let bench = Bench::new().await;
    bench.check("run", ("sqlite: dayfly.db", "sqlite: /proc/dayfly.db"), 7, &["/proc/dayfly.db"]);
    bench.check("check", ("sqlite: dayfly.db", "sqlite: /proc/dayfly.db"), 7, &["/proc"]);
    std::fs::write(
        bench.site.path("note.db"),
        "this is no store, but long enough to be mistaken for one, and then some",
    )
    .unwrap();
    bench.check("run", ("sqlite: dayfly.db", "sqlite: note.db"), 7, &["note.db"]);
}

#[tokio::test]
async fn a_store_of_a_newer_version() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    site.end_clean().await;
    // The version lies at byte 60 of SQLite's header (https://www.sqlite.org/fileformat.html, 1.3), big-endian.
    let path = site.path("dayfly.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let output = site.command(&["run", "--config"]).arg(site.path("dayfly.yaml")).output().unwrap();
    check(&output, "a newer store", 7, &["newer"]);
    let output =
        site.command(&["check", "--config"]).arg(site.path("dayfly.yaml")).output().unwrap();
    check(&output, "a newer store", 7, &["newer"]);
}

#[tokio::test]
async fn a_socket_that_is_taken() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    let other = std::fs::read_to_string(site.path("dayfly.yaml"))
        .unwrap()
        .replace("dayfly.db", "other.db")
        .replace("name: e2e", "name: other");
    std::fs::write(site.path("other.yaml"), other).unwrap();
    let output = site.command(&["run", "--config"]).arg(site.path("other.yaml")).output().unwrap();
    check(&output, "a taken socket", 1, &["dayfly.sock"]);
    site.end_clean().await;
}

#[tokio::test]
async fn a_good_configuration_passes_every_check() {
    let site = Site::new(Setup::default()).await;
    let output = site
        .command(&["check", "--json", "--config"])
        .arg(site.path("dayfly.yaml"))
        .output()
        .unwrap();
    check(&output, "good", 0, &[]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(findings.as_array().unwrap().len() >= 5, "{findings:#}");
    assert!(
        findings.as_array().unwrap().iter().all(|finding| finding["ok"] == true),
        "{findings:#}"
    );
    assert!(!site.path("dayfly.db").exists(), "a check changes nothing");
    let summary = site.github.get("summary").await;
    assert_eq!((&summary["sets"], &summary["runners"]["total"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn what_no_pool_uses_is_tried_and_said() {
    let bench = Bench::new().await;
    let scopes = |url: &str, token: &str| {
        format!(
            "github: [{{ name: it, url: BASE/acme, auth: {{ token: file:token }} }}, {{ name: spare, url: {url}, auth: {{ token: file:{token} }} }}]"
        )
    };
    let was = "github: [{ url: BASE/acme, auth: { token: file:token } }]";
    let named = ("demand: scale-set", "github: it\n    demand: scale-set");
    let check_scope = |url: &str, token: &str, code: i32, words: &[&str]| {
        let text = GOOD.replace(named.0, named.1).replace(was, &scopes(url, token));
        check(&bench.run_text("check", &text), &text, code, words);
    };
    let unused = "ok     scope spare: no pool is of it";
    let well = "ok     scope spare: credential for";
    check_scope("BASE/acme/site", "token", 0, &[unused, well, "ok     scope it: credential for"]);
    bench.site.write_secret("wrong", SECRET);
    check_scope("BASE/acme/site", "wrong", 4, &[unused, "WRONG  scope spare: credential", "401"]);
    check_scope("BASE/acme/site", "absent", 4, &["WRONG  scope spare: ", "absent"]);

    let backends = "it: { process: { directory: instances } }";
    let spare = |settings: &str| format!("{backends}, spare: {{ {settings} }}");
    let answers = "ok     backend spare: no pool uses it; it answers";
    let well = spare("process: { directory: others }");
    bench.check("check", (backends, &well), 0, &[answers, "ok     backend it, pool e2e: "]);
    let lost = spare("docker: { host: \"unix:///nonexistent/docker.sock\" }");
    let words = ["WRONG  backend spare: ", "/nonexistent/docker.sock", "no pool uses it"];
    bench.check("check", (backends, &lost), 5, &words);
}

#[test]
fn a_wrong_command_line() {
    for words in [
        vec!["frobnicate"],
        vec!["run"],
        vec!["demo", "--jobs", "0"],
        vec!["demo", "--max", "1", "--warm", "2", "--once"],
    ] {
        let output = Command::new(DAYFLY).args(&words).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}
