//! Catching up by REST, and webhooks made, looked at, looked through and removed.

use std::collections::BTreeMap;

use dayfly_core::{
    model::WorkflowJobStatus,
    ports::{Forge, ForgeErrorKind},
};
use dayfly_github::{GitHub, HookChange};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use crate::fixture::Fixture;

/// Queues jobs of a repository and gives their ids.
async fn queue(fixture: &Fixture, repository: &str, path: &str, count: usize) -> Vec<i64> {
    let spec = json!({ "scope": repository, "labels": ["linux"], "count": count });
    let queued = fixture.control(path, &spec).await;
    queued["job_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

fn remaining(github: &GitHub) -> u32 {
    github.rate_limit().unwrap().remaining
}

#[tokio::test]
async fn what_is_to_do_is_read_and_costs_nothing_the_second_time() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let jobs = queue(&fixture, "acme/app", "jobs", 3).await;
    let held = queue(&fixture, "acme/site", "jobs?held=1", 1).await[0];
    let waiting_beside = queue(&fixture, "acme/site", "jobs", 1).await[0];
    let over = queue(&fixture, "acme/app", "jobs", 1).await[0];
    let end = json!({ "conclusion": "success" });
    fixture.control(&format!("jobs/{over}/complete"), &end).await;
    fixture.control(&format!("jobs/{}/complete", jobs[0]), &end).await;
    fixture.control("scopes", &json!({ "path": "acme/quiet" })).await;

    let caught = github.catch_up(&[], None).await.unwrap();
    let found: BTreeMap<i64, (WorkflowJobStatus, &str)> =
        caught.jobs.iter().map(|job| (job.id.id, (job.status, job.repository.as_str()))).collect();
    let expected = BTreeMap::from([
        (jobs[0], (WorkflowJobStatus::Completed, "acme/app")),
        (jobs[1], (WorkflowJobStatus::Queued, "acme/app")),
        (jobs[2], (WorkflowJobStatus::Queued, "acme/app")),
        (waiting_beside, (WorkflowJobStatus::Queued, "acme/site")),
    ]);
    assert_eq!(
        found, expected,
        "a run that waits for an approval has nothing to do, nor has one that is over"
    );
    assert_eq!((caught.cursor, caught.redelivered), (None, 0));
    assert_eq!(caught.jobs[0].labels, ["linux"]);

    // Nothing happened: the same is known again, and the hour is as long as before. Of quiet repositories nothing is asked.
    let before = (remaining(&github), fixture.calls("runs.list").await);
    assert_eq!(github.catch_up(&[], None).await.unwrap(), caught);
    assert_eq!(remaining(&github), before.0);
    assert_eq!(
        fixture.calls("runs.list").await - before.1,
        4,
        "two lists each of two repositories"
    );

    // What changed is heard of.
    fixture.control(&format!("jobs/{held}/approve"), &Value::Null).await;
    let caught = github.catch_up(&["acme/site".to_owned()], None).await.unwrap();
    let found: Vec<i64> = caught.jobs.iter().map(|job| job.id.id).collect();
    assert_eq!(found, [held, waiting_beside]);
}

#[tokio::test]
async fn lists_of_several_pages_are_read_whole() {
    let (fixture, github) = Fixture::with_token("acme/app").await;
    let spec = json!({ "scope": "acme/app", "labels": ["x"], "count": 120, "run_each": true });
    fixture.control("jobs", &spec).await;
    let spec = json!({ "scope": "acme/app", "labels": ["x"], "count": 130 });
    fixture.control("jobs", &spec).await;
    assert_eq!(github.catch_up(&[], None).await.unwrap().jobs.len(), 250);
}

#[tokio::test]
async fn one_repository_that_can_not_be_read_keeps_nobody_from_the_others() {
    let (fixture, github) = Fixture::with_token("acme").await;
    queue(&fixture, "acme/app", "jobs", 1).await;
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = named(&["acme/gone", "acme/app"]);
    assert_eq!(github.catch_up(&both, None).await.unwrap().jobs.len(), 1);
    let refused = github.catch_up(&named(&["acme/gone"]), None).await.unwrap_err();
    assert!(matches!(refused.kind, ForgeErrorKind::NotAllowed(_)), "{refused}");
    assert!(refused.to_string().contains("Actions: read"), "{refused}");
    let enterprise = Fixture::with_token("enterprises/big").await;
    let refused = enterprise.1.catch_up(&[], None).await.unwrap_err();
    assert!(refused.detail.contains("`repositories`"), "{refused}");
}

#[tokio::test]
async fn what_fails_takes_nothing_from_what_was_read() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let github = github.with_webhook("http://127.0.0.1:9/webhook");
    let mut jobs = BTreeMap::new();
    for name in ["acme/app", "acme/docs", "acme/site"] {
        jobs.insert(name.to_owned(), queue(&fixture, name, "jobs", 1).await[0]);
    }
    let all: Vec<String> = jobs.keys().cloned().collect();
    let check = async |route: &str, calls: u64, action: Value, read: Result<usize, bool>| {
        fixture.fault(route, calls, action).await;
        let caught = github.catch_up(&all, Some(7)).await;
        fixture.clear_faults().await;
        match (read, caught) {
            (Ok(read), Ok(caught)) => {
                assert_eq!(caught.jobs.len(), read, "{route}: {caught:?}");
                assert_eq!((caught.cursor, caught.redelivered), (Some(7), 0), "{route}");
                let said = caught.trouble.as_ref().unwrap().to_string();
                assert!(said.contains("answered 5") || said.contains("limit"), "{said}");
                if read == all.len() {
                    assert!(caught.left_out.is_empty(), "{route}: {caught:?}");
                    return;
                }
                // What was not read must not pass for what is not there, and nothing else is left out.
                let known = github.catch_up(&all, Some(7)).await.unwrap();
                assert_eq!((known.jobs.len(), &known.trouble), (3, &None), "{route}");
                for job in &known.jobs {
                    assert_eq!(
                        caught.may_lack(job),
                        !caught.jobs.contains(job),
                        "{route}: {job:?}"
                    );
                }
            }
            (Err(is_limit), Err(failure)) => {
                let limited = matches!(failure.kind, ForgeErrorKind::RateLimited(_));
                assert_eq!(limited, is_limit, "{route}: {failure}");
            }
            (expected, caught) => panic!("{route}: {expected:?}: {caught:?}"),
        }
    };
    let broken = || json!({ "do": "status", "status": 501 });
    check("runs.list", 1, broken(), Ok(2)).await;
    check("runs.jobs", 1, broken(), Ok(2)).await;
    check("hooks.list", 1, broken(), Ok(3)).await;
    // Nothing was read at all.
    check("runs.list", 1_000, broken(), Err(false)).await;
    // The credential as a whole.
    check("runs.jobs", 1, json!({ "do": "status", "status": 401 }), Err(false)).await;
    check("hooks.list", 1, json!({ "do": "secondary_limit", "retry_after": 1 }), Ok(3)).await;
}

#[tokio::test]
async fn a_job_is_read_by_its_id() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let id = queue(&fixture, "acme/app", "jobs", 1).await[0];
    let job = github.read_job("acme/app", id).await.unwrap().unwrap();
    assert_eq!((job.id.id, job.id.attempt, job.status), (id, 1, WorkflowJobStatus::Queued));
    assert_eq!(github.read_job("acme/app", id + 1_000).await.unwrap(), None);
    // What the credential may not see is not there either, GitHub says: that is no word on the job.
    let hidden = github.read_job("acme/gone", id).await.unwrap_err();
    assert!(matches!(hidden.kind, ForgeErrorKind::NotAllowed(_)), "{hidden}");
    assert!(hidden.to_string().contains("Actions: read"), "{hidden}");
}

/// Answers every request with 200, on an address of its own.
async fn listener() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let _ = stream.read(&mut request).await;
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
            // What is not read yet would reset the connection.
            let _ = stream.shutdown().await;
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it ends with the test, which aborts it")]
    let task = tokio::spawn(serve);
    (url, task)
}

#[tokio::test]
async fn deliveries_that_failed_are_sent_again_once() {
    let (fixture, github) = Fixture::with_token("acme").await;
    let (url, task) = listener().await;
    let github = github.with_webhook(&url);
    let place = &github.hook_places(&[])[0];
    github.install_hook(place, &url, &"a secret".to_owned().into()).await.unwrap();
    // Three fail, one is lost altogether, one is well.
    fixture.fault("hooks.deliver", 3, json!({ "do": "reset_before" })).await;
    queue(&fixture, "acme/app", "jobs", 3).await;
    fixture.fault("hooks.deliver", 1, json!({ "do": "lose" })).await;
    queue(&fixture, "acme/app", "jobs", 2).await;

    let caught = github.catch_up(&[], None).await.unwrap();
    assert_eq!((caught.jobs.len(), caught.redelivered), (5, 3));
    // Once they were answered well, there is nothing more to do.
    let good = async || {
        let caught = github.catch_up(&[], caught.cursor).await.unwrap();
        caught.redelivered == 0
    };
    let until = async {
        while !good().await {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), until).await.expect("made good");
    task.abort();
}

#[tokio::test]
async fn a_webhook_is_made_mended_checked_and_removed() {
    let url = "http://127.0.0.1:9/webhook";
    let secret = "a secret".to_owned().into();
    for (scope, named) in
        [("acme", None), ("acme/app", None), ("enterprises/big", Some("acme/app"))]
    {
        let (fixture, github) = Fixture::with_token(scope).await;
        fixture.control("scopes", &json!({ "path": "acme/app" })).await;
        let repositories: Vec<String> = named.into_iter().map(str::to_owned).collect();
        let places = github.hook_places(&repositories);
        let [place] = places.as_slice() else { panic!("{places:?}") };
        let verdict = async || github.check_hook(place, url).await.result;
        assert!(verdict().await.unwrap_err().contains("`dayfly webhook install`"));
        assert_eq!(github.remove_hook(place, url).await.unwrap(), HookChange::Absent);
        assert_eq!(github.install_hook(place, url, &secret).await.unwrap(), HookChange::Made);
        assert_eq!(github.install_hook(place, url, &secret).await.unwrap(), HookChange::Set);
        assert_eq!(github.remove_hook(place, url).await.unwrap(), HookChange::Removed);
        assert_eq!(github.remove_hook(place, url).await.unwrap(), HookChange::Absent);
    }
}

#[tokio::test]
async fn a_wrong_webhook_is_told() {
    let (url, task) = listener().await;
    let check = async |hook: Value, says: Result<&str, &str>| {
        let (fixture, github) = Fixture::with_token("acme/app").await;
        fixture.make("repos/acme/app/hooks", &hook).await;
        let verdict = github.check_hook(&github.hook_places(&[])[0], &url).await.result;
        match (says, &verdict) {
            (Ok(words), Ok(said)) | (Err(words), Err(said)) => {
                assert!(said.contains(words), "{said}");
            }
            _ => panic!("{says:?}: {verdict:?}"),
        }
    };
    let hook = |active: bool, event: &str, secret: Option<&str>| {
        let mut hook = json!({ "active": active, "events": [event], "config": { "url": url, "content_type": "json" } });
        if let Some(secret) = secret {
            hook["config"]["secret"] = secret.into();
        }
        hook
    };
    check(hook(true, "workflow_job", Some("s")), Ok("it sends json")).await;
    check(hook(false, "workflow_job", Some("s")), Err("switched off")).await;
    check(hook(true, "push", Some("s")), Err("does not send the event `workflow_job`")).await;
    check(hook(true, "workflow_job", None), Err("no secret")).await;
    task.abort();
}

/// A GitHub whose App is installed on acme, and sends these events; and a client that uses the App's own webhook.
async fn with_app(events: &[&str]) -> (Fixture, GitHub) {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": "acme" })).await;
    let spec = json!({ "type": "app", "installations": ["acme"], "events": events });
    let credential = fixture.app_of(&spec).await;
    let github = fixture.github("acme", &credential).with_app_webhook();
    (fixture, github)
}

#[tokio::test]
async fn the_webhook_of_an_app_is_set_and_checked() {
    let (url, task) = listener().await;
    let secret = "a secret".to_owned().into();
    let (fixture, github) = with_app(&["workflow_job"]).await;
    let places = github.hook_places(&[]);
    let [place] = places.as_slice() else { panic!("{places:?}") };
    assert_eq!(place.to_string(), "the GitHub App");
    let check = async |says: Result<&str, &str>| {
        let verdict = github.check_hook(place, &url).await.result;
        match (says, &verdict) {
            (Ok(words), Ok(said)) | (Err(words), Err(said)) => {
                assert!(said.contains(words), "{said}");
            }
            _ => panic!("{says:?}: {verdict:?}"),
        }
    };
    check(Err("it leads to nowhere")).await;
    let none = json!({ "do": "status", "status": 404 });
    fixture.fault("app.hook", 1, none.clone()).await;
    check(Err("switch it on (\"Active\") at the App's page")).await;
    fixture.fault("app.hook", 1, none).await;
    let refused = github.install_hook(place, &url, &secret).await.unwrap_err();
    assert!(refused.to_string().contains("switch it on (\"Active\")"), "{refused}");
    assert_eq!(github.install_hook(place, &url, &secret).await.unwrap(), HookChange::Set);
    check(Ok("nothing was delivered yet")).await;
    // It hears of the jobs of all the owner's repositories, and tells which installation it is for.
    queue(&fixture, "acme/app", "jobs", 1).await;
    let heard = async |state: &str| {
        let until = async {
            while fixture.look("state").await["hooks"][0][state] != 1 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), until).await.expect(state);
    };
    heard("succeeded").await;
    check(Ok("its newest delivery was answered well")).await;
    fixture.fault("hooks.deliver", 1, json!({ "do": "status", "status": 503 })).await;
    queue(&fixture, "acme/app", "jobs", 1).await;
    heard("failed").await;
    check(Err("its newest delivery was answered 503, as were 1 of the last 2")).await;
    let refused = github.remove_hook(place, &url).await.unwrap_err();
    assert!(refused.to_string().contains("switch it off at the App's page"), "{refused}");
    task.abort();

    let (_fixture, silent) = with_app(&["push"]).await;
    let place = &silent.hook_places(&[])[0];
    silent.install_hook(place, &url, &secret).await.unwrap();
    let verdict = silent.check_hook(place, &url).await.result.unwrap_err();
    assert!(verdict.contains("choose \"Workflow job\" at the App's page"), "{verdict}");

    // What leads to somebody else is left to them.
    let (_fixture, taken) = with_app(&["workflow_job"]).await;
    let place = &taken.hook_places(&[])[0];
    taken.install_hook(place, ELSEWHERE, &secret).await.unwrap();
    let verdict = taken.check_hook(place, &url).await.result.unwrap_err();
    assert!(verdict.contains(&format!("it leads to {ELSEWHERE}, and not to")), "{verdict}");
    let refused = taken.install_hook(place, &url, &secret).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("it leads to {ELSEWHERE}, where somebody")), "{refused}");
    let verdict = taken.check_hook(place, ELSEWHERE).await.result.unwrap();
    assert!(verdict.contains("nothing was delivered yet"), "{verdict}");
}

/// Where nobody of ours hears.
const ELSEWHERE: &str = "http://127.0.0.1:9/elsewhere";

#[tokio::test]
async fn failed_deliveries_of_an_app_are_sent_again_once() {
    let (url, task) = listener().await;
    // One that leads elsewhere is none of ours.
    let (fixture, github) = with_app(&["workflow_job"]).await;
    let github = github.with_webhook(&url);
    let secret = "a secret".to_owned().into();
    github.install_hook(&github.hook_places(&[])[0], ELSEWHERE, &secret).await.unwrap();
    fixture.fault("hooks.deliver", 1, json!({ "do": "reset_before" })).await;
    queue(&fixture, "acme/app", "jobs", 1).await;
    assert_eq!(github.catch_up(&[], None).await.unwrap().redelivered, 0);
    // Where the App has none, jobs are read all the same.
    fixture.fault("app.hook", 1, json!({ "do": "status", "status": 404 })).await;
    let caught = github.catch_up(&[], None).await.unwrap();
    assert_eq!((caught.jobs.len(), caught.redelivered), (1, 0));

    let (fixture, github) = with_app(&["workflow_job"]).await;
    let github = github.with_webhook(&url);
    let place = &github.hook_places(&[])[0];
    github.install_hook(place, &url, &secret).await.unwrap();
    fixture.fault("hooks.deliver", 2, json!({ "do": "reset_before" })).await;
    queue(&fixture, "acme/app", "jobs", 3).await;
    let caught = github.catch_up(&[], None).await.unwrap();
    assert_eq!((caught.jobs.len(), caught.redelivered), (3, 2));
    let until = async {
        while github.catch_up(&[], caught.cursor).await.unwrap().redelivered > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), until).await.expect("made good");
    task.abort();
}

#[tokio::test]
async fn the_addresses_of_webhooks_are_told() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    assert_eq!(github.hook_addresses().await.unwrap(), ["127.0.0.0/8", "::1/128"]);
}
