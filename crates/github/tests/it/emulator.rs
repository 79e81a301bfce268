//! The client against the `scaleset` crate's emulator, which nobody here wrote. It knows acquire mode only, and none of the
//! public routes for runners.

use std::{sync::Arc, time::Duration};

use dayfly_core::{
    model::{JobEntryKind, MessageId, RunnerGroupId},
    ports::{Forge, ForgeErrorKind},
};
use dayfly_github::{Address, Credential, GitHub, HttpTransport};
use scaleset::testing::{DEFAULT_PAT, Emulator, Endpoint, Fault};

use crate::fixture::{DEFAULT, Fixture, TestClock, runner};

async fn emulator() -> (Emulator, GitHub) {
    let emulator = Emulator::builder()
        .long_poll(Duration::from_millis(200))
        .runner_group("fast")
        .start()
        .await;
    let github = client(&emulator, &Credential::Token(DEFAULT_PAT.to_owned().into()));
    (emulator, github)
}

fn client(emulator: &Emulator, credential: &Credential) -> GitHub {
    let address = Address::parse(&emulator.config_url()).unwrap();
    let transport = Arc::new(HttpTransport::new(None).unwrap());
    GitHub::new(address, credential, transport, Arc::new(TestClock::default()), "test-host")
        .unwrap()
}

#[tokio::test]
async fn a_job_from_the_queue_to_its_end() {
    let (emulator, github) = emulator().await;
    assert_eq!(github.find_group("fast").await.unwrap(), RunnerGroupId(2));
    assert_eq!(github.find_group("slow").await.unwrap_err().kind, ForgeErrorKind::NotFound);
    let set = github.create_scale_set(DEFAULT, "linux", &["linux".to_owned()]).await.unwrap();
    let conflict =
        github.create_scale_set(DEFAULT, "linux", &["linux".to_owned()]).await.unwrap_err();
    assert_eq!(conflict.kind, ForgeErrorKind::Conflict);
    assert_eq!(github.find_scale_set(DEFAULT, "linux").await.unwrap().unwrap().id, set.id);
    let session = github.open_session(set.id).await.unwrap();
    assert_eq!(github.open_session(set.id).await.unwrap_err().kind, ForgeErrorKind::Conflict);
    assert_eq!(github.poll(set.id, MessageId(0), 3).await.unwrap(), None);

    let job = emulator.queue_job(scaleset::ScaleSetId(set.id.0), ["linux"]);
    let offered = github.poll(set.id, MessageId(0), 3).await.unwrap().unwrap();
    assert_eq!(offered.entries[0].kind, JobEntryKind::Available);
    assert_eq!(offered.entries[0].repository, "org/repo");
    assert!(offered.entries[0].queued_at.is_some());
    let won = github.acquire(set.id, &[offered.entries[0].request_id, 4_711]).await.unwrap();
    assert_eq!(won, [offered.entries[0].request_id]);
    github.acknowledge(set.id, offered.id).await.unwrap();
    let given = github.poll(set.id, offered.id, 3).await.unwrap().unwrap();
    assert_eq!(given.entries[0].kind, JobEntryKind::Assigned);
    assert_eq!(given.statistics.unwrap().assigned, 1);
    github.acknowledge(set.id, given.id).await.unwrap();

    let minted = github.mint(set.id, &runner(1)).await.unwrap();
    emulator.start_job(job, Some(runner(1).as_str()));
    assert_eq!(github.remove_runner(minted.id).await.unwrap_err().kind, ForgeErrorKind::Busy);
    let started = github.poll(set.id, given.id, 3).await.unwrap().unwrap();
    assert_eq!(started.entries[0].kind, JobEntryKind::Started { runner: runner(1).to_string() });
    github.acknowledge(set.id, started.id).await.unwrap();
    emulator.complete_job(job, None);
    let ended = github.poll(set.id, started.id, 3).await.unwrap().unwrap();
    let completed =
        JobEntryKind::Completed { result: "succeeded".to_owned(), runner: runner(1).to_string() };
    assert_eq!(ended.entries[0].kind, completed);
    github.acknowledge(set.id, ended.id).await.unwrap();
    assert!(!github.remove_runner(minted.id).await.unwrap(), "it went with its job");

    github.close_session(set.id, &session.id).await.unwrap();
    github.delete_scale_set(set.id).await.unwrap();
    github.delete_scale_set(set.id).await.unwrap();
    assert!(emulator.state().scale_sets.is_empty() && emulator.state().sessions.is_empty());
    let polls = emulator.requests_to(Endpoint::GetMessage);
    assert!(polls.iter().all(|poll| poll.max_capacity == Some(3)));
    let agent = polls[0].user_agent.as_deref().unwrap();
    assert!(
        agent.starts_with("dayfly/") && agent.contains(&format!("\"scale_set_id\":{}", set.id)),
        "{agent}"
    );
}

#[tokio::test]
async fn tokens_and_sessions_that_end() {
    let (emulator, github) = emulator().await;
    let set = github.create_scale_set(DEFAULT, "linux", &["linux".to_owned()]).await.unwrap().id;
    let session = github.open_session(set).await.unwrap();
    emulator.expire_admin_tokens();
    emulator.expire_queue_token(scaleset::ScaleSetId(set.0));
    emulator.queue_job(scaleset::ScaleSetId(set.0), ["linux"]);
    let message = github.poll(set, MessageId(0), 1).await.unwrap().unwrap();
    emulator.expire_queue_token(scaleset::ScaleSetId(set.0));
    assert_eq!(github.acquire(set, &[message.entries[0].request_id]).await.unwrap().len(), 1);
    emulator.expire_session(scaleset::ScaleSetId(set.0));
    assert_eq!(
        github.poll(set, message.id, 1).await.unwrap_err().kind,
        ForgeErrorKind::SessionGone
    );
    assert_eq!(
        github.refresh_session(set, &session.id).await.unwrap_err().kind,
        ForgeErrorKind::SessionGone
    );
    github.close_session(set, &session.id).await.unwrap();
    github.open_session(set).await.unwrap();
}

#[tokio::test]
async fn a_registration_made_twice_and_a_repeat_after_disorder() {
    let (emulator, github) = emulator().await;
    let set = github.create_scale_set(DEFAULT, "linux", &["linux".to_owned()]).await.unwrap().id;
    let first = github.mint(set, &runner(1)).await.unwrap();
    let second = github.mint(set, &runner(1)).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(emulator.state().runners.len(), 1);
    emulator.inject(Fault::status(Endpoint::GenerateJitConfig, 503).times(2));
    github.mint(set, &runner(2)).await.unwrap();
    emulator.inject(
        Fault::secondary_rate_limit(Endpoint::GenerateJitConfig, Some(Duration::from_secs(20)))
            .times(1),
    );
    assert!(matches!(
        github.mint(set, &runner(3)).await.unwrap_err().kind,
        ForgeErrorKind::RateLimited(_)
    ));
}

#[tokio::test]
async fn an_app_signs_in() {
    let emulator = Emulator::builder().github_app(77).start().await;
    // The emulator takes any key.
    let fixture = Fixture::new().await;
    fixture.control("scopes", &serde_json::json!({ "path": "acme" })).await;
    let Credential::App { client_id, private_key, .. } = fixture.app("acme", false).await else {
        panic!()
    };
    let credential = Credential::App { client_id, private_key, installation_id: Some(77) };
    let github = client(&emulator, &credential);
    assert_eq!(github.find_scale_set(DEFAULT, "none").await.unwrap(), None);
}
