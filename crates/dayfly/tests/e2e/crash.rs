//! The daemon is killed at every point between intent, mint, hand-over and end; the next one settles what is left.
//!
//! The points are found from outside: a call that GitHub or the engine holds back, or a state that the daemon's own row has
//! reached. Each run ends with every job done, and nothing left at GitHub, at the engine or in the store.

use serde_json::{Value, json};

use crate::site::{Making, Setup, Site};

/// Long enough for a kill, short enough to be waited for: the simulator holds the call this long.
const HELD_MS: u64 = 60_000;

async fn site(making: Making, more: &str) -> Site {
    Site::new(Setup { making, more: more.to_owned(), ..Setup::default() }).await
}

/// The daemon dies while GitHub holds a call of `route` back, after or before its effect; a job is queued before.
async fn check(route: &str, action: &str) {
    let mut site = site(Making::Process, "").await;
    let at_start = matches!(route, "sets.create" | "sessions.create");
    if !at_start {
        site.start_and_wait();
    }
    site.github.fault(route, &json!({ "do": action, "ms": HELD_MS })).await;
    if at_start {
        site.start();
    }
    site.github.queue("acme/site", None, 2).await;
    site.github.until_held(route).await;
    site.crash();
    site.github.clear_faults().await;
    site.start();
    site.github.until_jobs("success", 2).await;
    site.end_clean().await;
}

#[tokio::test]
async fn scale_set_made_and_its_id_not_stored() {
    check("sets.create", "delay_after").await;
}

#[tokio::test]
async fn scale_set_asked_for_and_not_made() {
    check("sets.create", "delay_before").await;
}

#[tokio::test]
async fn session_opened_and_its_id_not_stored() {
    check("sessions.create", "delay_after").await;
}

#[tokio::test]
async fn message_given_and_not_received() {
    check("messages.get", "delay_after").await;
}

#[tokio::test]
async fn message_stored_and_not_deleted() {
    check("messages.delete", "delay_before").await;
}

#[tokio::test]
async fn message_deleted_and_the_answer_lost() {
    check("messages.delete", "delay_after").await;
}

#[tokio::test]
async fn registration_asked_for_and_not_made() {
    check("sets.jitconfig", "delay_before").await;
}

#[tokio::test]
async fn registration_made_and_its_configuration_lost() {
    check("sets.jitconfig", "delay_after").await;
}

/// The daemon dies while the engine does not answer. `reached` says when its row is where it should be.
async fn check_frozen(
    freeze_at: impl Fn(&Value) -> bool,
    reached: impl Fn(&Value) -> bool,
    slow_mint: bool,
) {
    let mut site = site(Making::Noop, "").await;
    site.start_and_wait();
    if slow_mint {
        site.github.fault("sets.jitconfig", &json!({ "do": "delay_after", "ms": 2_000 })).await;
    } else {
        site.freeze_engine(true);
    }
    site.github.queue("acme/site", None, 1).await;
    if slow_mint {
        site.until(&["runners"], &freeze_at);
        site.freeze_engine(true);
    }
    site.until(&["runners"], reached);
    site.crash();
    site.freeze_engine(false);
    site.start();
    site.github.until_jobs("success", 1).await;
    site.end_clean().await;
}

#[tokio::test]
async fn instance_asked_for_and_the_answer_lost() {
    check_frozen(|_| true, |runners| runners[0]["instance"] == "creating", false).await;
}

#[tokio::test]
async fn hand_over_begun_and_the_answer_lost() {
    let ready = |runners: &Value| {
        runners[0]["instance"] == "ready" && runners[0]["registration"] == "minting"
    };
    check_frozen(ready, |runners| runners[0]["registration"] == "handing over", true).await;
}

#[tokio::test]
async fn configuration_in_memory_and_not_handed_over() {
    let mut site = site(Making::Noop, "").await;
    site.start_and_wait();
    // The mint is answered while the create is not: the registration is held for an instance that is not ready.
    site.freeze_engine(true);
    site.github.queue("acme/site", None, 1).await;
    site.until(&["runners"], |runners| {
        runners[0]["registration"] == "held" && runners[0]["instance"] == "creating"
    });
    site.crash();
    site.freeze_engine(false);
    site.start();
    site.github.until_jobs("success", 1).await;
    site.end_clean().await;
}

#[tokio::test]
async fn runner_online_without_a_job() {
    let mut site = site(Making::Process, "    min_idle: 1\n").await;
    site.start_and_wait();
    let runner =
        site.until(&["runners"], |runners| runners[0]["phase"] == "online")[0]["name"].clone();
    site.crash();
    site.start_and_wait();
    let adopted = site.until(&["runners"], |runners| runners[0]["phase"] == "online");
    assert_eq!(adopted[0]["name"], runner, "it is adopted, not replaced");
    site.github.queue("acme/site", None, 1).await;
    site.github.until_jobs("success", 1).await;
    site.end_clean().await;
}

#[tokio::test]
async fn job_running() {
    let mut site = site(Making::Process, "").await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 4"), 1).await;
    site.github.until_jobs("running", 1).await;
    site.crash();
    site.start_and_wait();
    site.github.until_jobs("success", 1).await;
    site.end_clean().await;
}

#[tokio::test]
async fn job_ended_while_nobody_looked() {
    let mut site = site(Making::Process, "").await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 2"), 1).await;
    site.github.until_jobs("running", 1).await;
    site.crash();
    site.github.until_jobs("success", 1).await;
    site.start_and_wait();
    site.end_clean().await;
}

#[tokio::test]
async fn removal_asked_for_and_the_answer_lost() {
    let mut site = site(Making::Process, "    min_idle: 1\n").await;
    site.start_and_wait();
    let runner =
        site.until(&["runners"], |runners| runners[0]["phase"] == "online")[0]["name"].clone();
    site.github.fault("agents.delete", &json!({ "do": "delay_after", "ms": HELD_MS })).await;
    site.json(&["remove", runner.as_str().unwrap()]);
    site.github.until_held("agents.delete").await;
    site.crash();
    site.github.clear_faults().await;
    site.start_and_wait();
    site.until(&["runners"], |runners| {
        runners[0]["phase"] == "online" && runners[0]["name"] != runner
    });
    site.end_clean().await;
}

#[tokio::test]
async fn killed_again_and_again() {
    const JOBS: usize = 12;
    let mut site = site(Making::Process, "    warm: 1\n").await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 1"), JOBS).await;
    for done in [1, 4, 7] {
        site.github.until("some jobs", async |github| github.jobs("success").await >= done).await;
        site.crash();
        site.start();
    }
    site.github.until_jobs("success", JOBS).await;
    site.end_clean().await;
}
