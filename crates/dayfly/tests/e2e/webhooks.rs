//! Jobs heard of by webhooks: lost ones, doubled ones and any order, while the daemon is killed.

use std::process::Output;

use serde_json::{Value, json};

use crate::site::{Setup, Site, WEBHOOK_SECRET};

fn setup(max: usize) -> Setup {
    Setup { demand: "webhook", max, ..Setup::default() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `dayfly webhook …` on the site's configuration.
fn webhook(site: &Site, words: &[&str]) -> Output {
    let config = site.path("dayfly.yaml");
    let mut command = site.command(&["webhook"]);
    command.args(words).arg("--config").arg(config).output().unwrap()
}

/// Makes the webhook; of its deliveries a tenth is lost, and GitHub knows it, a tenth comes twice, and all come in no order.
pub async fn install_on_a_bad_way(site: &Site) {
    let made = webhook(site, &["install"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for (action, probability) in [
        (json!({ "do": "reset_before" }), 0.1),
        (json!({ "do": "twice" }), 0.1),
        (json!({ "do": "shuffle", "ms": 500 }), 1.0),
    ] {
        let fault =
            json!({ "route": "hooks.deliver", "action": action, "probability": probability });
        site.github.post("faults", &fault).await;
    }
}

/// It was webhooks that told of the jobs, and some did get lost.
pub fn deliveries_got_lost(state: &Value, jobs: usize) {
    let count = |what: &str| state["hooks"][0][what].as_u64().unwrap();
    assert!(count("succeeded") > jobs as u64 && count("failed") > 0, "{}", state["hooks"]);
}

#[tokio::test]
async fn every_job_runs_whatever_becomes_of_deliveries_and_daemon() {
    const JOBS: usize = 40;
    let mut site = Site::new(setup(6)).await;
    install_on_a_bad_way(&site).await;
    site.start_and_wait();
    for (queued, done) in [(JOBS / 2, 5), (JOBS / 2, 15)] {
        let jobs = json!({ "scope": "acme/site", "labels": ["self-hosted", "e2e"], "steps": ["sleep 0.3"], "count": queued });
        site.github.post("jobs", &jobs).await;
        site.github.until("some jobs", async |github| github.jobs("success").await >= done).await;
        // Those that the daemon is dead for are lost with it: catching up finds them.
        site.crash();
        site.start();
    }
    site.github.until_jobs("success", JOBS).await;
    let state = site.github.get("state").await;
    let jobs = state["jobs"].as_array().unwrap();
    let took: std::collections::BTreeSet<&str> =
        jobs.iter().map(|job| job["runner_name"].as_str().unwrap()).collect();
    assert_eq!(took.len(), JOBS, "one job for each runner");
    deliveries_got_lost(&state, JOBS);
    site.end_clean().await;
}

#[tokio::test]
async fn jobs_of_which_nothing_was_told_are_found() {
    let mut site = Site::new(Setup { app: true, ..setup(2) }).await;
    // No webhook was ever made: what is queued is read, here with an App's hour.
    let jobs = json!({ "scope": "acme/site", "labels": ["e2e"], "count": 3 });
    site.github.post("jobs", &jobs).await;
    site.start();
    site.github.until_jobs("success", 3).await;
    site.end_clean().await;
}

#[tokio::test]
async fn the_apps_own_webhook_tells_of_jobs() {
    const JOBS: usize = 8;
    let mut site = Site::new(Setup { app: true, app_webhook: true, ..setup(3) }).await;
    let check = |site: &Site, words: &[&str], code: i32, says: &str| {
        let output = webhook(site, words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(says), "{words:?}: {said}");
        assert!(!said.contains(WEBHOOK_SECRET), "{words:?}: {said}");
    };
    check(&site, &["check"], 4, "webhook of the GitHub App: it leads to nowhere");
    check(&site, &["install"], 0, "webhook of the GitHub App: it leads to http://127.0.0.1");
    check(&site, &["check"], 0, "nothing was delivered yet");
    site.github.fault("hooks.deliver", &json!({ "do": "reset_before" })).await;
    site.start_and_wait();
    let jobs = json!({ "scope": "acme/site", "labels": ["e2e"], "steps": ["true"], "count": JOBS });
    site.github.post("jobs", &jobs).await;
    site.github.until_jobs("success", JOBS).await;
    // None was told by a hook of the organisation or of the repository, which have none.
    let state = site.github.get("state").await;
    let hooks = state["hooks"].as_array().unwrap();
    assert!(hooks.len() == 1 && hooks[0]["scope"].is_null(), "{hooks:?}");
    assert!(hooks[0]["succeeded"].as_u64().unwrap() >= JOBS as u64, "{hooks:?}");
    check(&site, &["remove"], 4, "switch it off at the App's page");
    site.end_clean().await;
}

#[tokio::test]
async fn a_webhook_is_made_checked_and_removed() {
    let site = Site::new(Setup { app: true, ..setup(1) }).await;
    let check = |words: &[&str], code: i32, says: &str| {
        let output = webhook(&site, words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(
            output.status.code() == Some(code) && said.contains(says),
            "{words:?}: {:?} {said}",
            output.status
        );
        assert!(!said.contains(WEBHOOK_SECRET), "{words:?}: {said}");
    };
    check(&["check"], 4, "`dayfly webhook install` makes it");
    check(&["install"], 0, "webhook of organization acme: made");
    check(&["install"], 0, "was there");
    check(&["check"], 0, "ok     scope github: webhook of organization acme");
    let whole =
        site.command(&["check"]).arg("--config").arg(site.path("dayfly.yaml")).output().unwrap();
    let told = text(&whole.stdout);
    for line in [
        "ok     endpoint:",
        "ok     scope github: jobs: 0 of queued",
        "ok     scope github: webhook of organization acme",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(whole.status.success(), "{told}");
    check(&["remove"], 0, "removed");
    check(&["remove"], 0, "there is none");
    let output = webhook(&site, &["install", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told[0]["change"], "made");
    site.write_secret("webhook", "");
    check(&["install"], 4, "it is empty");
}

#[tokio::test]
async fn a_webhook_that_no_pool_hears_any_more_is_removed_and_no_other() {
    let site = Site::new(setup(1)).await;
    let check = |words: &[&str], code: i32, says: &[&str]| {
        let output = webhook(&site, words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        for says in says {
            assert!(said.contains(says), "{words:?}: {says}: {said}");
        }
    };
    let leads = async || {
        let state = site.github.get("state").await;
        let hooks = state["hooks"].as_array().unwrap();
        let of = |hook: &Value| hook["url"].as_str().unwrap().to_owned();
        hooks.iter().map(|hook| of(hook).rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    check(&["install"], 0, &["made"]);
    site.reconfigure("/webhook\"", "/others\"");
    check(&["install"], 0, &["made"]);
    assert_eq!(leads().await, ["webhook", "others"]);

    site.reconfigure("demand: webhook", "demand: scale-set");
    check(&["install"], 3, &["no pool hears webhooks", "webhook remove"]);
    check(&["check"], 3, &["no pool hears webhooks"]);
    // A scope that refuses keeps nothing from the one behind it, and is told.
    let base = &site.github.base;
    let refusing = format!("{{ name: far, url: {base}/acme/site, auth: {{ token: file:wrong }} }}");
    site.write_secret("wrong", "ghp_wrongwrongwrongwrongwrongwrongwrong12");
    site.reconfigure("github: [{ url", &format!("github: [{refusing}, {{ name: it, url"));
    site.reconfigure("    labels:", "    github: it\n    labels:");
    check(&["remove"], 4, &["webhook of organization acme: removed", "acme/site", "401"]);
    assert_eq!(leads().await, ["webhook"], "what leads elsewhere stays");

    site.reconfigure("file:wrong", "file:token");
    check(&["remove"], 0, &["organization acme: there is none", "acme/site: there is none"]);
    site.reconfigure("/others\"", "/webhook\"");
    let output = webhook(&site, &["remove", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told[0]["change"], &told[1]["change"]), (&json!("absent"), &json!("removed")));
    assert!(leads().await.is_empty());
}
