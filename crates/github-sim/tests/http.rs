//! The HTTP face: held polls, dropped connections, callers that go away, and the program's own entry.

#![expect(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use std::time::Duration;

use dayfly_github_sim::{Options, Server, SimArgs, SimConfig, run, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);

async fn server(options: Options) -> Server {
    serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), SimConfig { seed: 1, options }).unwrap()
}

/// Sends a request as bytes and returns everything that comes back until the connection ends.
async fn exchange(server: &Server, method: &str, path: &str, token: &str, body: &Value) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nuser-agent: t\r\nauthorization: {token}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn body_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn control(server: &Server, path: &str, body: Value) -> Value {
    let answer = exchange(server, "POST", &format!("/control/{path}"), "", &body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    body_of(&answer)
}

/// A set with a session; returns the path to poll and its authorization.
async fn session(server: &Server) -> (String, String) {
    control(server, "scopes", json!({ "path": "acme/app" })).await;
    let pat = control(server, "credentials", json!({ "type": "pat" })).await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let made = exchange(
        server,
        "POST",
        "/orgs/acme/actions/runners/registration-token",
        &format!("Bearer {pat}"),
        &Value::Null,
    )
    .await;
    let remote = format!("RemoteAuth {}", body_of(&made)["token"].as_str().unwrap());
    let body = json!({ "url": "https://x/acme", "runner_event": "register" });
    let admin =
        body_of(&exchange(server, "POST", "/actions/runner-registration", &remote, &body).await);
    let admin = format!("Bearer {}", admin["token"].as_str().unwrap());
    let root = "/services/tenant-7f3a/_apis/runtime/runnerscalesets";
    let body = json!({ "name": "one", "runnerGroupId": 1, "labels": [{ "name": "linux" }] });
    let set = body_of(
        &exchange(server, "POST", &format!("{root}?api-version=6.0-preview"), &admin, &body).await,
    );
    let path = format!("{root}/{}/sessions?api-version=6.0-preview", set["id"]);
    let session =
        body_of(&exchange(server, "POST", &path, &admin, &json!({ "ownerName": "t" })).await);
    let url =
        session["messageQueueUrl"].as_str().unwrap().trim_start_matches("http://x").to_owned();
    (url, format!("Bearer {}", session["messageQueueAccessToken"].as_str().unwrap()))
}

/// Waits until the session's poll is held, or no longer.
async fn polling(server: &Server, wanted: bool) {
    let state =
        async || body_of(&exchange(server, "GET", "/control/state", "", &Value::Null).await);
    let seen = async {
        while state().await["sessions"][0]["polling"] != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("polling as expected");
}

#[tokio::test]
async fn a_held_poll_is_woken_by_another_connection() {
    let server = server(Options::default()).await;
    let (url, token) = session(&server).await;
    let queue = async {
        polling(&server, true).await;
        control(&server, "jobs", json!({ "scope": "acme/app", "labels": ["linux"], "count": 2 }))
            .await
    };
    let (answer, _) = tokio::join!(exchange(&server, "GET", &url, &token, &Value::Null), queue);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(body_of(&answer)["statistics"]["totalAssignedJobs"], 2);
    server.stop().await;
}

#[tokio::test]
async fn a_held_poll_ends_by_itself() {
    let server = server(Options { hold_ms: 30, ..Options::default() }).await;
    let (url, token) = session(&server).await;
    let answer = exchange(&server, "GET", &url, &token, &Value::Null).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_is_forgotten() {
    let server = server(Options::default()).await;
    let (url, token) = session(&server).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream
        .write_all(
            format!("GET {url} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    polling(&server, true).await;
    drop(stream);
    polling(&server, false).await;
    let counters = body_of(&exchange(&server, "GET", "/control/counters", "", &Value::Null).await);
    assert_eq!(counters["messages.get"]["statuses"]["0"], 1);
    server.stop().await;
}

#[tokio::test]
async fn faults_reach_the_wire() {
    let server = server(Options::default()).await;
    let whole = exchange(&server, "GET", "/no/such/route", "", &Value::Null).await;
    assert!(whole.starts_with("HTTP/1.1 404"), "{whole}");
    for (action, status, complete) in [
        (json!({ "do": "reset_before" }), "", false),
        (json!({ "do": "reset_after" }), "", false),
        (json!({ "do": "truncate", "bytes": 7 }), "HTTP/1.1 404", false),
        (json!({ "do": "delay_after", "ms": 20 }), "HTTP/1.1 404", true),
        (json!({ "do": "delay_before", "ms": 20 }), "HTTP/1.1 404", true),
        (json!({ "do": "status", "status": 429, "retry_after": 3 }), "HTTP/1.1 429", true),
        (json!({ "do": "bom" }), "HTTP/1.1 404", true),
    ] {
        control(&server, "faults", json!({ "route": "unknown", "action": action, "count": 1 }))
            .await;
        let answer = exchange(&server, "GET", "/no/such/route", "", &Value::Null).await;
        assert!(answer.starts_with(status), "{action}: {answer}");
        let promised = answer
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        let got = answer.split_once("\r\n\r\n").map(|(_, body)| body.len());
        assert_eq!(promised.is_some() && promised == got, complete, "{action}: {answer}");
        assert_eq!(answer.is_empty(), status.is_empty(), "{action}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_program_tells_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("port");
    let args = SimArgs {
        listen: "127.0.0.1:0".parse().unwrap(),
        port_file: Some(path.clone()),
        seed: 1,
        options: Options::default(),
    };
    let told = async {
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) => break text.trim().parse::<u16>().unwrap(),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let port = tokio::select! {
        ended = run(args) => panic!("{ended:?}"),
        port = tokio::time::timeout(PATIENCE, told) => port.expect("a port"),
    };
    assert!(port > 0);
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let error = run(SimArgs { listen, port_file: None, seed: 1, options: Options::default() })
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}

/// Reads one request, answers it with `status`, and gives its text.
async fn answer_one(listener: &TcpListener, status: &str) -> String {
    let exchange = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let mut buffer = [0; 4_096];
            let read = stream.read(&mut buffer).await.unwrap();
            request.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.to_lowercase().split("content-length: ").nth(1).map(str::to_owned);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let answer =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                return text;
            }
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("a delivery")
}

#[tokio::test]
async fn deliveries_are_sent_and_their_answers_remembered() {
    let server = server(Options::default()).await;
    control(&server, "scopes", json!({ "path": "acme/app" })).await;
    let made = control(&server, "credentials", json!({ "type": "pat" })).await;
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let config = json!({ "url": url, "content_type": "json", "secret": "s", "insecure_ssl": "0" });
    let body = json!({ "name": "web", "events": ["workflow_job"], "config": config });
    let hook = body_of(&exchange(&server, "POST", "/orgs/acme/hooks", &token, &body).await);
    let ping = answer_one(&listener, "200 OK").await.to_lowercase();
    assert!(
        ping.starts_with("post /webhook http/1.1") && ping.contains("x-github-event: ping"),
        "{ping}"
    );
    control(&server, "jobs", json!({ "scope": "acme/app", "labels": ["linux"] })).await;
    let job = answer_one(&listener, "503 Service Unavailable").await;
    assert!(
        job.contains("\"action\":\"queued\"")
            && job.to_lowercase().contains("x-hub-signature-256: sha256="),
        "{job}"
    );
    let path = format!("/orgs/acme/hooks/{}/deliveries?status=failure", hook["id"]);
    let listed = async {
        loop {
            let listed = body_of(&exchange(&server, "GET", &path, &token, &Value::Null).await);
            if listed.as_array().is_some_and(|listed| !listed.is_empty()) {
                break listed;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let listed = tokio::time::timeout(PATIENCE, listed).await.expect("it is listed");
    assert_eq!(listed[0]["status_code"], 503);
    server.stop().await;
}
