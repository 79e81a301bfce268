//! Input that nobody honest sends: an answer that says what is wrong, and the daemon goes on.

use dayfly_server::{ErrorBody, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::daemon::{Daemon, STUCK};

#[tokio::test]
async fn odd_requests_get_their_errors() {
    let daemon = Daemon::start();
    let unknown = "linux-zzzzzzzzzzzzzz";
    let remove = format!("/v1/runners/{unknown}/remove");
    let remove = remove.as_str();
    let ours = format!("/v1/runners/{}/remove", daemon.runner);
    let huge = format!("{{\"even_busy\": false, \"padding\": \"{}\"}}", "x".repeat(64 * 1024));
    let long_name = format!("/v1/pools/{}", "a".repeat(4_000));
    let long_what = format!("/v1/explain?what={}", "a".repeat(4_000));
    let deep = "[".repeat(10_000);
    // method, path, body → status, code, a word of the message
    type Case<'a> = (&'a str, &'a str, Option<&'a str>, u16, &'a str, &'a str);
    let cases: [Case<'_>; 22] = [
        ("GET", "/", None, 404, "not_found", "route"),
        ("GET", "/v2/status", None, 404, "not_found", "route"),
        ("PUT", "/v1/status", None, 405, "bad_request", "method"),
        ("GET", "/v1/pools/linux/drain", None, 405, "bad_request", "method"),
        ("GET", "/v1/pools/windows", None, 404, "not_found", "windows"),
        ("POST", "/v1/pools/windows/drain", None, 404, "not_found", "windows"),
        ("DELETE", "/v1/pools/windows", None, 404, "not_found", "windows"),
        ("DELETE", "/v1/pools/..%2f..%2fetc", None, 400, "bad_request", "pool name"),
        ("POST", "/v1/pools/LINUX/drain", None, 400, "bad_request", "pool name"),
        ("GET", &long_name, None, 400, "bad_request", "pool name"),
        ("GET", "/v1/pools/%ff%fe", None, 400, "bad_request", "UTF-8"),
        ("POST", remove, Some("{}"), 404, "not_found", unknown),
        ("POST", "/v1/runners/x/remove", Some("{}"), 400, "bad_request", "runner name"),
        ("POST", &ours, Some("{\"even_busy\": \"yes\"}"), 422, "bad_request", "even_busy"),
        ("POST", &ours, Some("{\"force\": true}"), 422, "bad_request", "force"),
        ("POST", &ours, Some("{"), 400, "bad_request", "JSON"),
        ("POST", &ours, None, 415, "bad_request", "application/json"),
        ("POST", &ours, Some(&deep), 422, "bad_request", "JSON"),
        ("POST", &ours, Some(&huge), 413, "too_large", "limit"),
        ("GET", "/v1/explain", None, 400, "bad_request", "what"),
        ("GET", &long_what, None, 400, "bad_request", "what"),
        ("GET", "/v1/explain?what=no-such-thing", None, 404, "not_found", "no-such-thing"),
    ];
    for (method, path, body, status, code, word) in cases {
        let (said, body) = daemon.ask(method, path, body).await;
        let shown = &path[..path.len().min(60)];
        assert_eq!(said, status, "{method} {shown}: {body}");
        let error: ErrorBody =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{shown}: {error}: {body}"));
        assert_eq!(error.error.code, code, "{method} {shown}: {body}");
        assert!(error.error.message.contains(word), "{method} {shown}: {body}");
        assert!(!error.error.hint.is_empty(), "{method} {shown}: no hint");
        assert!(body.len() < 2_000, "{method} {shown}: the answer repeats the input");
    }
    daemon.end().await;
}

#[tokio::test]
async fn what_is_no_http_is_closed() {
    let daemon = Daemon::start();
    let flood = format!("GET /v1/version HTTP/1.1\r\n{}", "x: y\r\n".repeat(200_000));
    let cases: [&[u8]; 4] = [
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HELO dayfly\r\n\r\n",
        flood.as_bytes(),
    ];
    for request in cases {
        let answer = daemon.raw(request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    }
    daemon.get::<Version>("/v1/version").await;
    daemon.end().await;
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_out_for_long() {
    let daemon = Daemon::start();
    // As many as are served at once, and some: they are closed after their time for the head, and the request gets
    // its turn.
    let mut silent = Vec::new();
    for _ in 0..70 {
        let mut stream = UnixStream::connect(&daemon.path).await.unwrap();
        stream.write_all(b"GET /v1/ver").await.unwrap();
        silent.push(stream);
    }
    daemon.get::<Version>("/v1/version").await;
    let mut rest = Vec::new();
    let closed = silent[0].read_to_end(&mut rest);
    timeout(STUCK, closed).await.expect("a silent client is served for ever").unwrap();
    daemon.end().await;
}

#[tokio::test]
async fn one_request_for_each_connection() {
    let daemon = Daemon::start();
    let twice = "GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
    let answer = daemon.raw(twice.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    daemon.end().await;
}
