//! Runners that register by themselves, outside any set.

use dayfly_core::{
    model::RunnerGroupId,
    ports::{Forge, ForgeErrorKind},
};
use serde_json::json;

use crate::fixture::{DEFAULT, Fixture, opened, runner, take_job};

fn labels() -> [String; 2] {
    ["self-hosted".to_owned(), "linux".to_owned()]
}

/// Registers, takes a job by its labels, and is gone with its end.
async fn live(scope: &str, app: bool) {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": scope })).await;
    let owner = scope.split('/').next().unwrap();
    let credential = if app {
        fixture.app(owner, false).await
    } else {
        fixture.token(&json!({ "type": "pat" })).await
    };
    let github = fixture.github(scope, &credential);
    let made = github.register(DEFAULT, &labels(), &runner(1)).await.unwrap();
    assert_eq!(fixture.calls("runners.jitconfig").await, 1);
    assert_eq!(fixture.calls("registration").await, 0, "no admin connection is needed");
    assert!(github.rate_limit().is_some(), "it counts against the credential's hour");
    let record = github.find_runner(&runner(1)).await.unwrap().unwrap();
    assert_eq!((record.id, record.online, record.busy), (made.id, Some(false), Some(false)));
    let jobs = json!({ "scope": scope, "labels": ["self-hosted", "LINUX"], "count": 1 });
    if !scope.starts_with("enterprises/") {
        fixture.control("jobs", &jobs).await;
        let (mut broker, job) = take_job(made.jit.expose()).await;
        let busy = github.remove_runner(made.id).await.unwrap_err();
        assert_eq!(busy.kind, ForgeErrorKind::Busy, "{busy}");
        broker.complete(job, "succeeded", &[]).await.unwrap();
        assert_eq!(github.find_runner(&runner(1)).await.unwrap(), None);
    }
    // With its job's end GitHub removed it; one that had none is removed by us.
    let left = scope.starts_with("enterprises/");
    assert_eq!(github.remove_runner(made.id).await.unwrap(), left);
}

#[tokio::test]
async fn in_an_organization_by_token() {
    live("acme", false).await;
}

#[tokio::test]
async fn in_a_repository_by_app() {
    live("acme/app", true).await;
}

#[tokio::test]
async fn in_an_enterprise_by_token() {
    live("enterprises/big", false).await;
}

#[tokio::test]
async fn one_whose_answer_was_lost_is_made_anew() {
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
        fixture.fault("runners.jitconfig", 1, action.clone()).await;
        let made = github.register(DEFAULT, &labels(), &runner(1)).await.unwrap();
        let listed = github.list_runners().await.unwrap();
        let ids: Vec<_> = listed.iter().map(|record| record.id).collect();
        assert_eq!(ids, [made.id], "{action}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_freed_or_left_alone() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let first = github.register(DEFAULT, &labels(), &runner(1)).await.unwrap();
    let second = github.register(DEFAULT, &labels(), &runner(1)).await.unwrap();
    assert_ne!(first.id, second.id, "nobody has the first one's configuration any more");
    let (set, _) = opened(&github).await;
    let in_set = github.mint(set, &runner(2)).await.unwrap();
    let refusal = github.register(DEFAULT, &labels(), &runner(2)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Conflict, "{refusal}");
    assert_eq!(github.find_runner(&runner(2)).await.unwrap().unwrap().id, in_set.id);
    let refusal = github.mint(set, &runner(1)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Conflict, "{refusal}");
    let third = github.register(DEFAULT, &["only".to_owned()], &runner(3)).await.unwrap();
    fixture.control("jobs", &json!({ "labels": ["only"], "scope": "acme", "count": 1 })).await;
    let (_broker, _) = take_job(third.jit.expose()).await;
    let refusal = github.register(DEFAULT, &labels(), &runner(3)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Conflict, "one with a job stays: {refusal}");
}

#[tokio::test]
async fn refusals_make_nothing() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let refusal = github.register(RunnerGroupId(99), &labels(), &runner(1)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Refused, "{refusal}");
    assert!(refusal.to_string().contains("runner group"), "{refusal}");
    let refusal = github.register(DEFAULT, &[], &runner(1)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Refused, "{refusal}");
    let limit = json!({ "do": "primary_limit", "reset_s": 600 });
    fixture.fault("runners.jitconfig", 1, limit).await;
    let refusal = github.register(DEFAULT, &labels(), &runner(1)).await.unwrap_err();
    assert!(matches!(refusal.kind, ForgeErrorKind::RateLimited(_)), "{refusal}");
    let asked = fixture.calls("runners.jitconfig").await;
    let refusal = github.register(DEFAULT, &labels(), &runner(1)).await.unwrap_err();
    assert!(matches!(refusal.kind, ForgeErrorKind::RateLimited(_)), "{refusal}");
    assert_eq!(fixture.calls("runners.jitconfig").await, asked, "it is left alone");
    let hidden = fixture.github("other", &fixture.token(&json!({ "type": "pat" })).await);
    let refusal = hidden.register(DEFAULT, &labels(), &runner(1)).await.unwrap_err();
    assert!(matches!(refusal.kind, ForgeErrorKind::NotAllowed(_)), "{refusal}");
}
