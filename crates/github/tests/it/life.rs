//! The whole conversation, from the group to the last deletion, against the simulated GitHub: token and App,
//! organisation, repository and enterprise, both assignment modes.

use dayfly_core::{
    model::{JobEntryKind, MessageId},
    ports::{Forge, ForgeErrorKind},
};
use dayfly_github::GitHub;
use serde_json::json;

use crate::fixture::{DEFAULT, Fixture, connect, opened, runner};

/// Lives through it in `scope`, signed in by an App or a token, with jobs that are given (`auto`) or acquired.
async fn live(scope: &str, app: bool, assignment: &str) {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": scope, "assignment": assignment })).await;
    // An enterprise has jobs in its organizations only.
    let enterprise = scope.strip_prefix("enterprises/");
    if enterprise.is_some() {
        fixture.control("scopes", &json!({ "path": "acme", "enterprise": enterprise })).await;
    }
    let owner = scope.split('/').next().unwrap();
    let credential = if app {
        fixture.app(owner, false).await
    } else {
        fixture.token(&json!({ "type": "pat" })).await
    };
    let github = fixture.github(scope, &credential);
    for finding in github.check("Default").await {
        assert!(finding.result.is_ok(), "{scope} {app}: {finding:?}");
    }

    assert_eq!(github.find_group("default").await.unwrap(), DEFAULT);
    assert_eq!(github.find_scale_set(DEFAULT, "linux-small").await.unwrap(), None);
    let (set, session) = opened(&github).await;
    let found = github.find_scale_set(DEFAULT, "linux-small").await.unwrap().unwrap();
    assert_eq!(
        (found.id, found.labels.as_slice()),
        (set, ["self-hosted".to_owned(), "linux".to_owned()].as_slice())
    );

    fixture.queue_jobs(enterprise.map_or(scope, |_| "acme"), 2).await;
    let first = one_message(&github, MessageId(0)).await;
    if assignment == "acquire" {
        assert!(first.entries.iter().all(|entry| entry.kind == JobEntryKind::Available));
        let ids: Vec<i64> = first.entries.iter().map(|entry| entry.request_id).collect();
        assert_eq!(github.acquire(set, &ids).await.unwrap(), ids);
        github.acknowledge(set, first.id).await.unwrap();
        let second = one_message(&github, first.id).await;
        assert!(second.entries.iter().all(|entry| entry.kind == JobEntryKind::Assigned));
        github.acknowledge(set, second.id).await.unwrap();
    } else {
        assert_eq!(first.entries.len(), 2);
        assert!(
            first
                .entries
                .iter()
                .all(|entry| entry.kind == JobEntryKind::Assigned && entry.queued_at.is_some())
        );
        assert_eq!(
            github.acquire(set, &[7]).await.unwrap(),
            [] as [i64; 0],
            "this server assigns by itself"
        );
        github.acknowledge(set, first.id).await.unwrap();
    }

    let minted = github.mint(set, &runner(1)).await.unwrap();
    let found = github.find_runner(&runner(1)).await.unwrap().unwrap();
    assert_eq!((found.id, found.online, found.busy), (minted.id, Some(false), Some(false)));
    let broker = connect(minted.jit.expose()).await;
    let found = github.find_runner(&runner(1)).await.unwrap().unwrap();
    assert_eq!(found.online, Some(true));
    drop(broker);
    assert_eq!(github.find_runner(&runner(2)).await.unwrap(), None);
    assert!(github.remove_runner(minted.id).await.unwrap());
    assert!(!github.remove_runner(minted.id).await.unwrap());
    assert_eq!(github.list_runners().await.unwrap(), []);

    let refreshed = github.refresh_session(set, &session.id).await.unwrap();
    assert_eq!((&refreshed.id, refreshed.statistics.assigned), (&session.id, 2));
    let conflict = github.open_session(set).await.unwrap_err();
    assert_eq!(conflict.kind, ForgeErrorKind::Conflict);
    github.close_session(set, &session.id).await.unwrap();
    github.close_session(set, &session.id).await.unwrap();
    let gone = github.poll(set, MessageId(0), 1).await.unwrap_err();
    assert_eq!(gone.kind, ForgeErrorKind::SessionGone);

    let updated =
        github.update_scale_set(set, DEFAULT, "linux-small", &["other".to_owned()]).await.unwrap();
    assert_eq!(updated.labels, ["other"]);
    github.delete_scale_set(set).await.unwrap();
    github.delete_scale_set(set).await.unwrap();
    assert_eq!(github.open_session(set).await.unwrap_err().kind, ForgeErrorKind::ScaleSetGone);
    assert_eq!(github.mint(set, &runner(1)).await.unwrap_err().kind, ForgeErrorKind::ScaleSetGone);

    let summary = fixture.look("summary").await;
    assert_eq!(
        (&summary["sets"], &summary["sessions"], &summary["runners"]["total"]),
        (&json!(0), &json!(0), &json!(0))
    );
}

async fn one_message(github: &GitHub, cursor: MessageId) -> dayfly_core::model::Message {
    let set = github.find_scale_set(DEFAULT, "linux-small").await.unwrap().unwrap().id;
    let message = github.poll(set, cursor, 10).await.unwrap().unwrap();
    assert!(message.id > cursor && message.unreadable.is_empty() && message.statistics.is_some());
    message
}

#[tokio::test]
async fn an_organization_by_token() {
    live("acme", false, "auto").await;
}

#[tokio::test]
async fn an_organization_by_app_where_jobs_are_acquired() {
    live("acme", true, "acquire").await;
}

#[tokio::test]
async fn a_repository_by_app() {
    live("acme/site", true, "auto").await;
}

#[tokio::test]
async fn a_repository_by_token_where_jobs_are_acquired() {
    live("acme/site", false, "acquire").await;
}

#[tokio::test]
async fn an_enterprise_by_token() {
    live("enterprises/big", false, "auto").await;
}

#[tokio::test]
async fn a_poll_without_news_is_none_and_counted() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.control("options", &json!({ "hold_ms": 50 })).await;
    let (set, _) = opened(&github).await;
    let (sent, empty) = github.requests();
    assert_eq!(github.poll(set, MessageId(0), 0).await.unwrap(), None);
    assert_eq!(github.requests(), (sent + 1, empty + 1));
}

#[tokio::test]
async fn groups_are_found_by_name() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let id = fixture.control("groups", &json!({ "scope": "acme", "name": "a & b#+%" })).await;
    assert_eq!(json!(github.find_group("A & b#+%").await.unwrap()), id["id"]);
    let refusal = github.find_group("none").await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::NotFound);
    assert!(
        refusal.to_string().contains("`none`") && refusal.detail.contains("organization acme"),
        "{refusal}"
    );
    let finding = github.check("none").await.pop().unwrap();
    assert!(finding.what.contains("none") && finding.result.is_err());
    assert_eq!(finding.exit_code, 4);
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    opened(&github).await;
    let refusal = github.create_scale_set(DEFAULT, "linux-small", &[]).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Conflict);
}
