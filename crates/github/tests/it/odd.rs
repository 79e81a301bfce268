//! Whatever GitHub, or who stands between, answers: a value or a clear error, in bounded time, and never a panic.

use std::{
    cell::RefCell,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dayfly_core::{
    model::{MessageId, RegistrationId, RunnerGroupId, ScaleSetId, SessionId},
    ports::{BoxFuture, Clock, Forge, ForgeError, Transport, TransportError},
};
use dayfly_github::{Address, Credential, GitHub};
use dayfly_github_sim::{Answer, Assignment, CredentialSpec, QueueSpec, ScopeSpec, Sim, SimConfig};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::runner;

/// The longest that one call may take, in virtual time: a poll and every repeat of it.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// How long the simulated GitHub holds a poll.
const HELD: Duration = Duration::from_secs(50);

const TOKEN: &str = "ghp_oddoddoddoddoddoddoddoddoddoddoddodd";

struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.0.elapsed()).unwrap();
        Timestamp::from_second(1_790_000_000).unwrap() + elapsed
    }
}

/// One thing that befalls an answer.
#[derive(Debug, Clone)]
enum Accident {
    Body(Vec<u8>),
    Cut(usize),
    Overwritten(usize, Vec<u8>),
    /// Of a JSON document: the value at this place among all has become another.
    Odd(usize, Value),
    Status(u16),
    Header(&'static str, String),
}

fn odd() -> impl Strategy<Value = Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    prop_oneof![
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(-1),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e308),
            json!(""),
            json!([]),
            json!({}),
            json!("\u{0}\u{1b}[31m"),
            json!("x".repeat(100_000)),
            json!(vec![7; 5_000]),
            deep,
            json!("http://[::1"),
            json!("file:///etc/passwd"),
            json!("https://elsewhere.invalid/"),
            json!(TOKEN),
        ]),
        "\\PC{0,20}".prop_map(|text| json!(text)),
        any::<i64>().prop_map(|number| json!(number)),
    ]
}

fn accident() -> impl Strategy<Value = Accident> {
    let header = prop::sample::select(vec![
        "retry-after",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-limit",
        "link",
        "location",
        "date",
        "content-type",
        "activityid",
        "x-github-request-id",
    ]);
    let text = prop_oneof![
        "[ -~]{0,40}",
        prop::sample::select(vec![
            "0",
            "-1",
            "99999999999999999999",
            "<x>; rel=\"next\"",
            "/",
            "Thu, 99 Nov 2026"
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Accident::Body),
        2 => (0..1_000_usize).prop_map(Accident::Cut),
        2 => (0..1_000_usize, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(at, put)| Accident::Overwritten(at, put)),
        6 => (0..80_usize, odd()).prop_map(|(at, odd)| Accident::Odd(at, odd)),
        2 => (100..1_000_u16).prop_map(Accident::Status),
        2 => (header, text).prop_map(|(name, text)| Accident::Header(name, text)),
    ]
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|item| nth(item, left)),
        _ => None,
    }
}

fn befall(accident: &Accident, response: &mut Response<Bytes>) {
    let body = response.body().to_vec();
    let place = |thousandth: usize| body.len() * thousandth / 1_000;
    let spoiled = match accident {
        Accident::Body(bytes) => bytes.clone(),
        Accident::Cut(at) => body[..place(*at)].to_vec(),
        Accident::Overwritten(at, put) => {
            let (start, mut bytes) = (place(*at), body.clone());
            let end = (start + put.len() / 2).min(bytes.len());
            bytes.splice(start..end, put.iter().copied());
            bytes
        }
        Accident::Odd(at, odd) => match serde_json::from_slice::<Value>(&body) {
            Ok(mut document) => {
                let places = count(&document);
                *nth(&mut document, &mut (at % places)).unwrap() = odd.clone();
                document.to_string().into_bytes()
            }
            Err(_) => odd.to_string().into_bytes(),
        },
        Accident::Status(status) => {
            *response.status_mut() = StatusCode::from_u16(*status).unwrap();
            body
        }
        Accident::Header(name, text) => {
            let value = HeaderValue::from_str(text).unwrap();
            response.headers_mut().insert(HeaderName::from_static(name), value);
            body
        }
    };
    *response.body_mut() = spoiled.into();
}

/// The simulated GitHub in place, some of whose answers are spoiled on the way.
struct Spoiling {
    sim: Mutex<Sim>,
    clock: Arc<VirtualClock>,
    asked: AtomicUsize,
    /// The first of its answers to be spoiled, and how many from there on.
    from: usize,
    many: usize,
    accident: Accident,
}

impl Transport for Spoiling {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.sim.lock().unwrap().handle(self.clock.now(), &request);
            let Answer::Respond(mut response) = answer else {
                sleep(HELD).await;
                let (host, detail) = ("sim.test".to_owned(), "it ended".to_owned());
                return Err(TransportError::NoAnswer { host, detail });
            };
            if (self.from..self.from + self.many).contains(&number) {
                befall(&self.accident, &mut response);
            }
            Ok(response)
        })
    }
}

/// Waits for a call; what fails is bounded, named and holds no token.
async fn call<T>(
    failed: &RefCell<Vec<&'static str>>,
    what: &'static str,
    call: impl Future<Output = Result<T, ForgeError>>,
) -> Option<T> {
    let answered = timeout(TIME_MAX, call).await;
    match answered.unwrap_or_else(|_| panic!("{what} does not end")) {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.operation.is_empty() && !error.detail.is_empty(), "{what}: {error:?}");
            assert!(error.detail.chars().count() <= 2_000, "{what}: {}", error.detail.len());
            assert!(!format!("{error}{error:?}").contains(TOKEN), "{what}: {error}");
            failed.borrow_mut().push(what);
            None
        }
    }
}

/// Makes every call there is, and gives those that failed.
async fn everything(from: usize, many: usize, accident: Accident) -> Vec<&'static str> {
    let failed = RefCell::default();
    let clock = Arc::new(VirtualClock(Instant::now()));
    let mut sim = Sim::new(SimConfig::default());
    sim.tick(clock.now());
    for path in ["acme", "acme/app"] {
        let assignment = Assignment::Auto;
        let (path, kind, enterprise) = (path.to_owned(), None, None);
        sim.add_scope(&ScopeSpec { path, kind, enterprise, public: false, assignment }).unwrap();
    }
    let token = Some(TOKEN.to_owned());
    sim.add_credential(CredentialSpec::Pat { token, permissions: None, owners: None }).unwrap();
    let (asked, sim) = (AtomicUsize::new(0), Mutex::new(sim));
    let transport =
        Arc::new(Spoiling { sim, clock: Arc::clone(&clock), asked, from, many, accident });
    let address = Address::parse("https://sim.test/acme").unwrap();
    let credential = Credential::Token(TOKEN.to_owned().into());
    let way: Arc<dyn Transport> = Arc::clone(&transport) as Arc<dyn Transport>;
    let github = GitHub::new(address, &credential, way, clock.clone(), "host").unwrap();

    let labels = ["self-hosted".to_owned(), "linux".to_owned()];
    let group =
        call(&failed, "find_group", github.find_group("default")).await.unwrap_or(RunnerGroupId(1));
    call(&failed, "find_scale_set", github.find_scale_set(group, "linux-small")).await;
    let made =
        call(&failed, "create", github.create_scale_set(group, "linux-small", &labels)).await;
    let set = made.map_or(ScaleSetId(1), |record| record.id);
    call(&failed, "find_scale_set", github.find_scale_set(group, "linux-small")).await;
    let session = call(&failed, "open_session", github.open_session(set)).await;
    let session = session.map_or_else(|| SessionId("none".into()), |session| session.id);
    let queued = QueueSpec {
        scope: "acme/app".to_owned(),
        repo: None,
        labels: labels.to_vec(),
        steps: Vec::new(),
        count: 2,
        display_name: None,
        event: None,
        run_each: false,
    };
    let run = transport.sim.lock().unwrap().enqueue(clock.now(), &queued).unwrap().run_ids;
    let message = call(&failed, "poll", github.poll(set, MessageId(0), 5)).await.flatten();
    if let Some(message) = &message {
        assert!(message.entries.len() <= 1_000 && message.unreadable.len() <= 20);
    }
    if message.is_none() {
        failed.borrow_mut().push("no message");
    }
    let id = message.map_or(MessageId(1), |message| message.id);
    call(&failed, "acknowledge", github.acknowledge(set, id)).await;
    call(&failed, "acquire", github.acquire(set, &[1, 2])).await;
    let minted = call(&failed, "mint", github.mint(set, &runner(1))).await;
    call(&failed, "register", github.register(group, &labels, &runner(2))).await;
    let id = minted.map_or(RegistrationId(1), |minted| minted.id);
    call(&failed, "find_runner", github.find_runner(&runner(1))).await;
    call(&failed, "list_runners", github.list_runners()).await;
    call(&failed, "find_jobs", github.find_jobs("acme/app", run[0].0, None)).await;
    call(&failed, "remove_runner", github.remove_runner(id)).await;
    call(&failed, "update", github.update_scale_set(set, group, "linux-small", &labels[..1])).await;
    call(&failed, "refresh_session", github.refresh_session(set, &session)).await;
    // Nothing is newer: the simulated GitHub holds it, and the way breaks off.
    call(&failed, "poll in vain", github.poll(set, MessageId(i64::MAX), 5)).await;
    call(&failed, "close_session", github.close_session(set, &session)).await;
    call(&failed, "delete", github.delete_scale_set(set)).await;
    let findings = timeout(TIME_MAX, github.check("default")).await.expect("check ends");
    assert!(!findings.is_empty() && !format!("{findings:?}").contains(TOKEN), "{findings:?}");
    let asked = transport.asked.load(Ordering::Relaxed);
    assert!(asked < 1_000, "{asked} requests for twenty calls");
    failed.into_inner()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_of_github_is_read_or_refused(
        from in 0..30_usize,
        many in prop::sample::select(vec![1, 1, 3, 1_000]),
        accident in accident(),
    ) {
        run(everything(from, many, accident));
    }
}

#[test]
fn without_an_accident_every_call_is_answered() {
    assert_eq!(run(everything(0, 0, Accident::Status(500))), ["poll in vain"]);
}
