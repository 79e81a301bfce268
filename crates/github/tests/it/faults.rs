//! What GitHub has been seen to do wrong, and what the client makes of it within a call.

use dayfly_core::{
    model::{MessageId, ScaleSetId},
    ports::{Forge, ForgeErrorKind},
};
use serde_json::json;

use crate::fixture::{DEFAULT, Fixture, opened, runner, take_job};

#[tokio::test]
async fn an_admin_token_that_ends_is_renewed_once() {
    let (fixture, github) = Fixture::with_token("acme").await;
    opened(&github).await;
    assert_eq!(fixture.calls("registration").await, 1, "one connection serves all calls");
    fixture.control("tokens/revoke", &json!({ "kind": "admin" })).await;
    assert!(github.find_scale_set(DEFAULT, "linux-small").await.unwrap().is_some());
    assert_eq!(fixture.calls("registration").await, 2);
}

#[tokio::test]
async fn an_admin_token_is_not_used_in_its_last_minute() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.control("options", &json!({ "admin_token_ttl_ms": 59_000 })).await;
    opened(&github).await;
    assert_eq!(fixture.calls("registration").await, 2, "one for each of the two calls");
}

#[tokio::test]
async fn many_callers_share_one_renewal() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let all = (0..50).map(|_| github.find_scale_set(DEFAULT, "none"));
    for result in futures_util::future::join_all(all).await {
        assert_eq!(result.unwrap(), None);
    }
    assert_eq!(fixture.calls("registration").await, 1);
    assert_eq!(fixture.calls("runners.registration_token").await, 1);
}

#[tokio::test]
async fn a_queue_token_that_ends_is_renewed_within_the_call() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    fixture.queue_jobs("acme", 1).await;
    fixture.control("tokens/revoke", &json!({ "kind": "queue" })).await;
    let message = github.poll(set, MessageId(0), 1).await.unwrap().unwrap();
    fixture.control("tokens/revoke", &json!({ "kind": "queue" })).await;
    github.acknowledge(set, message.id).await.unwrap();
    assert_eq!(fixture.calls("sessions.refresh").await, 2);
}

#[tokio::test]
async fn a_lost_session_is_told_and_a_new_one_begins() {
    for act in ["evict", "expire"] {
        let (fixture, github) = Fixture::with_token("acme").await;
        let (set, session) = opened(&github).await;
        fixture.control(&format!("sets/{set}/{act}"), &json!({})).await;
        assert_eq!(
            github.poll(set, MessageId(0), 1).await.unwrap_err().kind,
            ForgeErrorKind::SessionGone,
            "{act}"
        );
        let refusal = github.refresh_session(set, &session.id).await.unwrap_err();
        assert_eq!(refusal.kind, ForgeErrorKind::SessionGone, "{act}");
        let again = github.open_session(set).await.unwrap();
        assert_ne!(again.id, session.id);
    }
}

#[tokio::test]
async fn another_process_takes_a_stored_session_up() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, session) = opened(&github).await;
    let credential = fixture.token(&json!({ "type": "pat" })).await;
    let after_restart = fixture.github("acme", &credential);
    assert_eq!(
        after_restart.poll(set, MessageId(0), 1).await.unwrap_err().kind,
        ForgeErrorKind::SessionGone
    );
    after_restart.refresh_session(set, &session.id).await.unwrap();
    fixture.queue_jobs("acme", 1).await;
    assert!(after_restart.poll(set, MessageId(0), 1).await.unwrap().is_some());
    after_restart.close_session(set, &session.id).await.unwrap();
}

#[tokio::test]
async fn a_set_that_vanished_is_told() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, session) = opened(&github).await;
    fixture.control(&format!("sets/{set}/delete"), &json!({})).await;
    assert_eq!(github.mint(set, &runner(1)).await.unwrap_err().kind, ForgeErrorKind::ScaleSetGone);
    assert_eq!(
        github.update_scale_set(set, DEFAULT, "x", &[]).await.unwrap_err().kind,
        ForgeErrorKind::ScaleSetGone
    );
    let refresh = github.refresh_session(set, &session.id).await.unwrap_err().kind;
    assert!(
        matches!(refresh, ForgeErrorKind::ScaleSetGone | ForgeErrorKind::SessionGone),
        "{refresh:?}"
    );
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_is_made_anew() {
    for action in [
        json!({ "do": "reset_after" }),
        json!({ "do": "truncate", "bytes": 40 }),
        json!({ "do": "twice" }),
        json!({ "do": "empty200" }),
        json!({ "do": "status", "status": 502 }),
        json!({ "do": "reset_before" }),
        json!({ "do": "bom" }),
    ] {
        let (fixture, github) = Fixture::with_token("acme").await;
        let (set, _) = opened(&github).await;
        fixture.fault("sets.jitconfig", 1, action.clone()).await;
        let minted = github.mint(set, &runner(1)).await.unwrap();
        let listed = github.list_runners().await.unwrap();
        assert_eq!(
            listed.iter().map(|record| record.id).collect::<Vec<_>>(),
            [minted.id],
            "{action}"
        );
        let set_state = fixture.look("state").await;
        assert_eq!(set_state["runners"].as_array().unwrap().len(), 1, "{action}");
    }
}

#[tokio::test]
async fn a_name_that_another_set_has_is_left_alone() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    let other = github.create_scale_set(DEFAULT, "other", &["x".to_owned()]).await.unwrap();
    let minted = github.mint(other.id, &runner(1)).await.unwrap();
    let refusal = github.mint(set, &runner(1)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Conflict, "{refusal}");
    assert_eq!(github.find_runner(&runner(1)).await.unwrap().unwrap().id, minted.id);
}

#[tokio::test]
async fn a_runner_with_a_job_is_busy_and_stays() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    fixture.queue_jobs("acme", 1).await;
    github.poll(set, MessageId(0), 1).await.unwrap().unwrap();
    let minted = github.mint(set, &runner(1)).await.unwrap();
    let (mut broker, job) = take_job(minted.jit.expose()).await;
    let record = github.find_runner(&runner(1)).await.unwrap().unwrap();
    assert_eq!((record.online, record.busy), (Some(true), Some(true)));
    let refusal = github.remove_runner(minted.id).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Busy, "{refusal}");
    let refusal = github.mint(set, &runner(1)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Conflict, "{refusal}");
    broker.complete(job, "succeeded", &[]).await.unwrap();
    assert_eq!(github.find_runner(&runner(1)).await.unwrap(), None);
}

#[tokio::test]
async fn short_disorder_is_mended_within_the_call() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    fixture.queue_jobs("acme", 1).await;
    let disorder = async |count| {
        for route in ["sets.list", "runners.list", "messages.get"] {
            fixture.fault(route, count, json!({ "do": "status", "status": 500 })).await;
        }
        tokio::join!(
            github.find_scale_set(DEFAULT, "linux-small"),
            github.list_runners(),
            github.poll(set, MessageId(0), 1)
        )
    };
    let (found, listed, polled) = disorder(2).await;
    assert!(
        found.is_ok() && listed.is_ok() && polled.is_ok(),
        "two failures are mended: {found:?} {listed:?} {polled:?}"
    );
    let (found, listed, polled) = disorder(3).await;
    for refusal in [found.unwrap_err(), listed.unwrap_err(), polled.unwrap_err()] {
        assert_eq!(refusal.kind, ForgeErrorKind::Transient, "three are the planner's: {refusal}");
    }
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_not_done_twice() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.fault("sets.create", 1, json!({ "do": "reset_after" })).await;
    let refusal = github.create_scale_set(DEFAULT, "linux-small", &[]).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Transient);
    let set = github.find_scale_set(DEFAULT, "linux-small").await.unwrap().unwrap();
    fixture.fault("sessions.create", 1, json!({ "do": "status", "status": 500 })).await;
    assert_eq!(github.open_session(set.id).await.unwrap_err().kind, ForgeErrorKind::Transient);
    assert_eq!(fixture.calls("sets.create").await, 1);
    assert_eq!(fixture.calls("sessions.create").await, 1);
}

#[tokio::test]
async fn odd_answers_are_transient_and_poison_is_delivered() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    fixture.queue_jobs("acme", 1).await;
    fixture.fault("messages.get", 1, json!({ "do": "empty200" })).await;
    assert_eq!(
        github.poll(set, MessageId(0), 1).await.unwrap_err().kind,
        ForgeErrorKind::Transient
    );
    fixture.fault("messages.get", 1, json!({ "do": "poison_entry" })).await;
    let message = github.poll(set, MessageId(0), 1).await.unwrap().unwrap();
    assert_eq!((message.unreadable.len(), message.entries.len()), (1, 1));
    fixture.fault("messages.get", 1, json!({ "do": "bom" })).await;
    assert_eq!(
        github.poll(set, MessageId(0), 1).await.unwrap().unwrap().unreadable,
        [] as [String; 0]
    );
}

#[tokio::test]
async fn acknowledging_what_is_not_there_is_done() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    let (set, _) = opened(&github).await;
    github.acknowledge(set, MessageId(4_711)).await.unwrap();
    let refusal = github.acknowledge(ScaleSetId(99), MessageId(1)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::SessionGone);
}
