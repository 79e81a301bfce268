//! Answers by script, in virtual time: what no well-behaved simulation does.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dayfly_core::ports::{BoxFuture, Clock, Forge, ForgeErrorKind, Transport, TransportError};
use dayfly_github::{Address, Credential, GitHub};
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::fixture::{DEFAULT, runner};

/// Virtual time.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.0.elapsed()).unwrap();
        Timestamp::from_second(1_800_000_000).unwrap() + elapsed
    }
}

type Answer = Result<(u16, Vec<(&'static str, String)>, String), TransportError>;

/// Answers in order, and remembers what was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<String>>,
    /// Never answers at all.
    silent: AtomicBool,
}

impl Transport for Script {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self.asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let silent = self.silent.load(Ordering::Relaxed);
        Box::pin(async move {
            if silent {
                std::future::pending::<()>().await;
            }
            let (status, headers, body) =
                self.answers.lock().unwrap().pop_front().expect("one answer too few")?;
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Bytes::from(body)).unwrap())
        })
    }
}

fn ok(body: &str) -> Answer {
    Ok((200, vec![], body.to_owned()))
}

fn script(answers: impl IntoIterator<Item = Answer>) -> (Arc<Script>, GitHub) {
    client(Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() })
}

fn client(script: Script) -> (Arc<Script>, GitHub) {
    let script = Arc::new(script);
    let address = Address::parse("https://github.com/acme").unwrap();
    let credential = Credential::Token("ghp_scripted".to_owned().into());
    let clock = Arc::new(TokioClock(Instant::now()));
    (script.clone(), GitHub::new(address, &credential, script, clock, "host").unwrap())
}

fn asked(script: &Script) -> Vec<String> {
    script.asked.lock().unwrap().clone()
}

fn page(total: usize, ids: impl IntoIterator<Item = i64>, next: Option<&str>) -> Answer {
    let runners: Vec<String> = ids
        .into_iter()
        .map(|id| format!(r#"{{"id":{id},"name":"r{id}","status":"online","busy":false}}"#))
        .collect();
    let headers =
        next.map(|next| ("link", format!("<{next}>; rel=\"next\""))).into_iter().collect();
    Ok((200, headers, format!(r#"{{"total_count":{total},"runners":[{}]}}"#, runners.join(","))))
}

const NEXT: &str = "https://api.github.com/orgs/acme/actions/runners?per_page=100&page=2";

#[tokio::test(start_paused = true)]
async fn a_list_with_a_last_page_is_read_at_once() {
    let link = |last: usize| {
        let address = "https://api.github.com/organizations/7/actions/runners?per_page=100";
        vec![(
            "link",
            format!("<{address}&page=2>; rel=\"next\", <{address}&page={last}>; rel=\"last\""),
        )]
    };
    let first =
        Ok((200, link(4), r#"{"total_count":4,"runners":[{"id":1,"name":"a"}]}"#.to_owned()));
    let (script_of, github) =
        script([first, page(4, [2], None), page(4, [3], None), page(4, [4], None)]);
    assert_eq!(github.list_runners().await.unwrap().len(), 4);
    let pages = asked(&script_of)[1..].to_vec();
    let expected = [2, 3, 4].map(|page| {
        format!(
            "GET https://api.github.com/organizations/7/actions/runners?per_page=100&page={page}"
        )
    });
    assert_eq!(pages, expected);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_under_the_reader_is_begun_anew() {
    // Between the pages runner 1 went: runner 3 moved to the first page, and nobody saw it.
    let torn = || [page(4, [1, 2], Some(NEXT)), page(3, [4], None)];
    let (script_of, github) =
        script(torn().into_iter().chain([page(3, [2, 3], Some(NEXT)), page(3, [4], None)]));
    let ids: Vec<i64> =
        github.list_runners().await.unwrap().iter().map(|record| record.id.0).collect();
    assert_eq!(ids, [2, 3, 4]);
    assert_eq!(asked(&script_of)[1], format!("GET {NEXT}"));

    let (_, github) = script(torn().into_iter().chain(torn()).chain(torn()));
    let refusal = github.list_runners().await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Transient);
    assert!(refusal.detail.contains("3 runners came of the 4"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn one_that_came_while_the_list_was_read_is_no_harm() {
    let (_, github) = script([page(3, [1, 2], Some(NEXT)), page(4, [3, 4], None)]);
    assert_eq!(github.list_runners().await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_half_list_is_an_error() {
    let elsewhere = "https://evil.example/orgs/acme/actions/runners?page=2";
    for second in [
        vec![page(4, [1, 2], Some(elsewhere))],
        vec![page(4, [1, 2], Some(NEXT)), ok("{}")],
        vec![page(4, [1, 2], Some(NEXT)), Ok((403, vec![], r#"{"message":"no"}"#.to_owned()))],
        vec![page(4, [1, 2], None), page(4, [1, 2], None), page(4, [1, 2], None)],
    ] {
        let (_, github) = script(second);
        assert!(github.list_runners().await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_filter_by_name_is_searched() {
    let other = r#"{"total_count":2,"runners":[{"id":1,"name":"x"}]}"#.to_owned();
    let wanted = format!(r#"{{"total_count":2,"runners":[{{"id":2,"name":"{}"}}]}}"#, runner(1));
    let link = vec![("link", format!("<{NEXT}>; rel=\"next\""))];
    let (script_of, github) = script([Ok((200, link, other)), ok(&wanted)]);
    let record = github.find_runner(&runner(1)).await.unwrap().unwrap();
    assert_eq!((record.id.0, record.online, record.busy), (2, None, None));
    assert!(asked(&script_of)[0].ends_with(&format!("?per_page=100&name={}", runner(1))));
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_within_the_host_for_reads_only() {
    let moved = |status, to: &str| Ok((status, vec![("location", to.to_owned())], String::new()));
    let (script_of, github) = script([
        moved(301, "https://api.github.com/organizations/7/actions/runners?per_page=100"),
        moved(308, "/organizations/8/actions/runners"),
        page(0, [], None),
    ]);
    assert_eq!(github.list_runners().await.unwrap(), []);
    assert_eq!(asked(&script_of)[2], "GET https://api.github.com/organizations/8/actions/runners");

    for to in ["https://evil.example/orgs/acme", "http://api.github.com/orgs/acme"] {
        let (script_of, github) = script([moved(307, to)]);
        assert_eq!(github.list_runners().await.unwrap_err().kind, ForgeErrorKind::Refused);
        assert_eq!(asked(&script_of).len(), 1, "a token is not shown to another host");
    }

    let around = "https://api.github.com/orgs/acme/actions/runners";
    let (script_of, github) = script((0..4).map(|_| moved(307, around)));
    assert!(github.list_runners().await.is_err());
    assert_eq!(asked(&script_of).len(), 4);

    let (_, github) = script([moved(307, "https://api.github.com/organizations/7")]);
    let refusal = github.find_scale_set(DEFAULT, "x").await.unwrap_err();
    assert!(
        refusal.detail.contains("it moved to https://api.github.com/organizations/7"),
        "{refusal}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_call() {
    let (_, github) = client(Script { silent: true.into(), ..Script::default() });
    let began = Instant::now();
    let refusal = github.list_runners().await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Transient);
    assert!(refusal.detail.contains("nothing came within 30 s"), "{refusal}");
    assert_eq!(began.elapsed().as_secs(), 30);

    // A poll may be held for 50 seconds.
    let session = r#"{"sessionId":"s","messageQueueUrl":"https://q/","messageQueueAccessToken":"q","statistics":{}}"#;
    let (script_of, github) = script(connection().into_iter().chain([ok(session)]));
    let set = dayfly_core::model::ScaleSetId(7);
    github.open_session(set).await.unwrap();
    script_of.silent.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let refusal = github.poll(set, dayfly_core::model::MessageId(0), 1).await.unwrap_err();
    assert_eq!((refusal.kind, began.elapsed().as_secs()), (ForgeErrorKind::Transient, 90));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_hundred_requests_are_under_way() {
    let (script_of, github) = client(Script { silent: true.into(), ..Script::default() });
    let all = futures_util::future::join_all((0..300).map(|_| github.list_runners()));
    let _ = tokio::time::timeout(Duration::from_secs(10), all).await;
    assert_eq!(asked(&script_of).len(), 100);
}

fn no_connection() -> Answer {
    Err(TransportError::Connect { host: "h".to_owned(), detail: "refused".to_owned() })
}

fn cut() -> Answer {
    Err(TransportError::NoAnswer { host: "h".to_owned(), detail: "cut".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn repeats_are_few_and_short() {
    let untrusted = || {
        Err(TransportError::Tls { host: "h".to_owned(), detail: "unknown authority".to_owned() })
    };
    let status = |status, headers| Ok((status, headers, String::new()));
    let check = async |answers: Vec<Answer>, expected: usize| {
        let (script_of, github) = script(answers);
        let began = Instant::now();
        assert_eq!(github.list_runners().await.unwrap_err().kind, ForgeErrorKind::Transient);
        assert_eq!(asked(&script_of).len(), expected);
        assert!(began.elapsed() < Duration::from_secs(3));
    };
    check(vec![no_connection(), cut(), status(502, vec![])], 3).await;
    check(vec![untrusted()], 1).await;
    check(vec![status(501, vec![])], 1).await;
    check(vec![status(503, vec![("retry-after", "60".to_owned())])], 1).await;
}

/// A connection to the Actions service, by script.
fn connection() -> [Answer; 2] {
    use base64::Engine;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000}"#);
    [
        Ok((201, vec![], r#"{"token":"AREG"}"#.to_owned())),
        ok(&format!(r#"{{"url":"https://broker.example/rest","token":"e30.{payload}.sig"}}"#)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_create_is_repeated_only_where_it_was_never_sent() {
    let set = r#"{"id":7,"name":"n","runnerGroupId":1}"#;
    let (script_of, github) = script(connection().into_iter().chain([no_connection(), ok(set)]));
    assert_eq!(github.create_scale_set(DEFAULT, "n", &[]).await.unwrap().id.0, 7);
    let expected =
        "POST https://broker.example/rest/_apis/runtime/runnerscalesets?api-version=6.0-preview";
    assert_eq!(asked(&script_of)[3], expected);
    let (script_of, github) = script(connection().into_iter().chain([cut()]));
    assert_eq!(
        github.create_scale_set(DEFAULT, "n", &[]).await.unwrap_err().kind,
        ForgeErrorKind::Transient
    );
    assert_eq!(asked(&script_of).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_queues_own_query_is_kept() {
    let session = |url: &str| {
        format!(
            r#"{{"sessionId":"s-1","messageQueueUrl":"{url}","messageQueueAccessToken":"q","statistics":{{}}}}"#
        )
    };
    let queue = "https://queue.example/a/messages?sessionId=s-1&x=%26";
    let answers =
        [ok(&session(queue)), Ok((202, vec![], String::new())), Ok((204, vec![], String::new()))];
    let (script_of, github) = script(connection().into_iter().chain(answers));
    let set = dayfly_core::model::ScaleSetId(7);
    github.open_session(set).await.unwrap();
    github.poll(set, dayfly_core::model::MessageId(9), 1).await.unwrap();
    github.acknowledge(set, dayfly_core::model::MessageId(9)).await.unwrap();
    assert_eq!(
        asked(&script_of)[3],
        "GET https://queue.example/a/messages?sessionId=s-1&x=%26&lastMessageId=9"
    );
    assert_eq!(
        asked(&script_of)[4],
        "DELETE https://queue.example/a/messages/9?sessionId=s-1&x=%26"
    );

    // Half a session, or one whose queue would get the token unencrypted, is given back.
    for url in ["", "http://queue.example/a", "no address"] {
        let answers = [ok(&session(url)), Ok((204, vec![], String::new()))];
        let (script_of, github) = script(connection().into_iter().chain(answers));
        assert_eq!(
            github.open_session(set).await.unwrap_err().kind,
            ForgeErrorKind::Transient,
            "{url}"
        );
        assert!(
            asked(&script_of)[3].starts_with("DELETE https://broker.example/rest/_apis/runtime/"),
            "{url}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_registration_token_that_is_not_known_yet_is_given_time() {
    let [registration, connected] = connection();
    let unknown = || Ok((401, vec![], "{}".to_owned()));
    let answers = [
        registration,
        unknown(),
        Ok((403, vec![], "{}".to_owned())),
        connected,
        ok(r#"{"value":[]}"#),
    ];
    let (_, github) = script(answers);
    assert_eq!(github.find_scale_set(DEFAULT, "n").await.unwrap(), None);
    let [registration, _] = connection();
    let (script_of, github) = script([registration, unknown(), unknown(), unknown()]);
    assert_eq!(
        github.find_scale_set(DEFAULT, "n").await.unwrap_err().kind,
        ForgeErrorKind::Unauthorized
    );
    assert_eq!(asked(&script_of).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_routers_404_is_no_proof_that_a_runner_is_gone() {
    let router = Ok((404, vec![], "404 page not found".to_owned()));
    let (_, github) = script(connection().into_iter().chain([router]));
    let refusal = github.remove_runner(dayfly_core::model::RegistrationId(5)).await.unwrap_err();
    assert_eq!(refusal.kind, ForgeErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_of_absurd_size_is_refused_and_its_registration_removed() {
    let absurd =
        || ok(&format!(r#"{{"runner":{{"id":5}},"encodedJITConfig":"{}"}}"#, "A".repeat(70_000)));
    let listed =
        || ok(&format!(r#"{{"value":[{{"id":5,"name":"{}","runnerScaleSetId":7}}]}}"#, runner(1)));
    let removed = || [listed(), Ok((204, vec![], String::new()))];
    let rounds = [absurd()]
        .into_iter()
        .chain(removed())
        .chain([absurd()])
        .chain(removed())
        .chain([absurd()]);
    let (script_of, github) = script(connection().into_iter().chain(rounds));
    let refusal = github.mint(dayfly_core::model::ScaleSetId(7), &runner(1)).await.unwrap_err();
    assert!(
        refusal.detail.contains("70000 bytes") && !refusal.detail.contains("AAAA"),
        "{refusal}"
    );
    assert!(asked(&script_of)[4].starts_with("DELETE "), "{:?}", asked(&script_of));
}

#[tokio::test(start_paused = true)]
async fn a_mint_in_doubt_is_never_told_as_one_that_made_nothing() {
    let limited = || Ok((429, vec![("retry-after", "9".to_owned())], "{}".to_owned()));
    let forbidden = || Ok((403, vec![], "{}".to_owned()));
    let nobody = || ok(r#"{"value":[]}"#);
    let check = async |answers: Vec<Answer>, doubted: bool| {
        let (_, github) = script(connection().into_iter().chain(answers));
        let refusal = github.mint(dayfly_core::model::ScaleSetId(7), &runner(1)).await.unwrap_err();
        assert_eq!(refusal.kind == ForgeErrorKind::Transient, doubted, "{refusal:?}");
    };
    check(vec![limited()], false).await;
    check(vec![forbidden()], false).await;
    check(vec![cut(), nobody(), limited()], true).await;
    check(vec![cut(), nobody(), forbidden()], true).await;
    check(vec![cut(), forbidden()], true).await;
    check(vec![cut(), nobody(), cut(), nobody(), cut()], true).await;
}

#[tokio::test(start_paused = true)]
async fn check_tells_an_unknown_owner_from_a_missing_permission() {
    let not_found = || Ok((404, vec![], r#"{"message":"Not Found"}"#.to_owned()));
    let said = async |answers: Vec<Answer>| {
        let (_, github) = script(answers);
        github.check("Default").await.pop().unwrap().result.unwrap_err()
    };
    let words = said(vec![ok("{}"), not_found(), ok("{}")]).await;
    assert!(
        words.contains(
            "though organization acme exists: the credential lacks the organization permission"
        ),
        "{words}"
    );
    let words = said(vec![ok("{}"), not_found(), not_found()]).await;
    assert!(words.contains("does not exist, or the credential has no access to it"), "{words}");
}
