//! The HTTP endpoint: what is taken, what is refused, and what it shows of itself.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use aws_lc_rs::hmac;
use dayfly_github::WebhookSecrets;
use dayfly_server::{Allowed, Intake, IntakeOptions, TlsFiles, WebhookOptions, serve_intake};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::daemon::{Daemon, STUCK};

const SECRET: &[u8] = b"a secret of this test";

/// An endpoint in front of a daemon.
struct Face {
    daemon: Daemon,
    address: SocketAddr,
    ending: CancellationToken,
    server: JoinHandle<()>,
}

fn webhook() -> WebhookOptions {
    WebhookOptions {
        secrets: WebhookSecrets::new([b"the next one".as_slice(), SECRET]),
        allowed: Allowed::Everyone,
        trusted_proxies: Vec::new(),
    }
}

impl Face {
    async fn open(webhook: Option<WebhookOptions>, tls: Option<TlsFiles>) -> Self {
        let daemon = Daemon::start();
        let listen = "127.0.0.1:0".parse().unwrap();
        let intake = Intake::open(IntakeOptions { listen, tls, webhook }).await.unwrap();
        let (address, ending) = (intake.address(), CancellationToken::new());
        let serve = serve_intake(intake, daemon.handle.clone(), ending.clone());
        let server = TaskTracker::new().spawn(serve);
        Self { daemon, address, ending, server }
    }

    async fn end(self) {
        self.ending.cancel();
        timeout(STUCK, self.server).await.unwrap().unwrap();
        self.daemon.end().await;
    }

    /// Sends bytes; the status and the body of what comes back.
    async fn raw(&self, request: &[u8]) -> (u16, String) {
        exchange(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.raw(head.as_bytes()).await
    }

    async fn deliver(&self, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        self.raw(&delivery(headers, body)).await
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> (u16, String) {
    let exchange = async {
        // A server that has heard enough closes its end: what it said counts.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let answer = timeout(STUCK, exchange).await.expect("no answer");
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn delivery(headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    [request.as_bytes(), b"\r\n", body].concat()
}

fn signature(secret: &[u8], body: &[u8]) -> String {
    let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

fn job(id: i64) -> Vec<u8> {
    let job =
        json!({ "id": id, "run_id": 3, "run_attempt": 1, "status": "queued", "labels": ["x64"] });
    let whole = json!({ "action": "queued", "workflow_job": job, "repository": { "full_name": "acme/shop" } });
    whole.to_string().into_bytes()
}

/// A delivery of a job, well signed.
fn good(id: i64) -> Vec<u8> {
    let body = job(id);
    delivery(
        &[("x-github-event", "workflow_job"), ("x-hub-signature-256", &signature(SECRET, &body))],
        &body,
    )
}

#[tokio::test]
async fn deliveries_are_answered_for_what_they_are() {
    let face = Face::open(Some(webhook()), None).await;
    let body = job(7);
    let right = signature(SECRET, &body);
    let wrong = signature(b"a guess", &body);
    let next = signature(b"the next one", &body);
    let check = async |event: &str,
                       signature: Option<&str>,
                       body: &[u8],
                       status: u16,
                       word: &str| {
        let mut headers = vec![("x-github-event", event), ("content-type", "application/json")];
        headers.retain(|(_, value)| !value.is_empty());
        headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
        let (said, words) = face.deliver(&headers, body).await;
        assert!(said == status && words.contains(word), "{event} {signature:?}: {said} {words}");
    };
    check("workflow_job", Some(&right), &body, 200, "stored").await;
    check("workflow_job", Some(&right), &body, 200, "stored").await;
    check("workflow_job", Some(&next), &body, 200, "stored").await;
    check("workflow_job", Some(&wrong), &body, 401, "fits none of the secrets").await;
    check("workflow_job", None, &body, 401, "no X-Hub-Signature-256").await;
    check("workflow_job", Some("sha1=0123"), &body, 401, "64 hexadecimal digits").await;
    check("workflow_job", Some(&right), &body[1..], 401, "fits none").await;
    check("", Some(&right), &body, 400, "X-GitHub-Event").await;
    let odd = b"{\"action\":\"queued\"}";
    check("workflow_job", Some(&signature(SECRET, odd)), odd, 422, "workflow_job").await;
    check("ping", Some(&signature(SECRET, b"{}")), b"{}", 200, "works").await;
    check("push", Some(&signature(SECRET, b"{}")), b"{}", 200, "nothing").await;
    check("ping", Some(&wrong), b"{}", 401, "fits none").await;

    // Nothing of what was sent or is secret comes back.
    let (_, words) = face.deliver(&[("x-hub-signature-256", &wrong)], &body).await;
    assert!(!words.contains("acme") && !words.contains("secret of this"), "{words}");
    face.end().await;
}

#[tokio::test]
async fn bodies_are_bounded() {
    let face = Face::open(Some(webhook()), None).await;
    let head = |length: &str| {
        format!(
            "POST /webhook HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {}\r\n{length}\r\n\r\n",
            signature(SECRET, b"")
        )
    };
    let (status, words) = face.raw(head("content-length: 26214401").as_bytes()).await;
    assert_eq!(status, 413, "{words}");
    let mut endless = head("transfer-encoding: chunked").into_bytes();
    let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    (0..27).for_each(|_| endless.extend_from_slice(&chunk));
    let (status, words) = face.raw(&endless).await;
    assert_eq!(status, 413, "{words}");
    // What can be no signature is refused before anything is read.
    for odd in ["sha1=00", "sha256=00", "nonsense"] {
        let head = format!(
            "POST /webhook HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {odd}\r\ncontent-length: 100\r\n\r\n"
        );
        assert_eq!(face.raw(head.as_bytes()).await.0, 401, "{odd}");
    }
    // A sender that stops in the middle is told so, and is gone.
    let mut slow = head("content-length: 100").into_bytes();
    slow.extend_from_slice(b"a part");
    let (status, words) = face.raw(&slow).await;
    assert_eq!(status, 408, "{words}");
    assert_eq!(face.raw(&good(1)).await.0, 200);
    face.end().await;
}

#[tokio::test]
async fn what_is_not_stored_is_not_answered_well() {
    let face = Face::open(Some(webhook()), None).await;
    assert_eq!(face.get("/readyz").await.0, 200);
    face.daemon.full.store(true, Ordering::SeqCst);
    let (status, words) = face.raw(&good(1)).await;
    assert_eq!(status, 503, "{words}");
    let (status, words) = face.get("/readyz").await;
    assert!(status == 503 && words.contains("the store can't be written"), "{status} {words}");
    assert_eq!(face.get("/healthz").await.0, 200);
    face.daemon.full.store(false, Ordering::SeqCst);
    let stored = async { while face.raw(&good(1)).await.0 != 200 {} };
    timeout(STUCK, stored).await.expect("it is never stored");
    face.daemon.end_engine().await;
    assert_eq!(face.raw(&good(2)).await.0, 503);
    assert_eq!(face.get("/readyz").await.0, 503);
    face.end().await;
}

#[tokio::test]
async fn only_those_who_may_deliver_are_heard() {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let (tell, told) = watch::channel(None);
    let proxied = good(1).to_vec();
    let proxied = |address: &str| {
        let text = String::from_utf8(proxied.clone()).unwrap();
        text.replacen("host: x", &format!("host: x\r\nx-forwarded-for: {address}"), 1).into_bytes()
    };
    let check = async |allowed: Allowed, trusted: &[&str], request: Vec<u8>, status: u16| {
        let options = WebhookOptions { allowed, trusted_proxies: networks(trusted), ..webhook() };
        let face = Face::open(Some(options), None).await;
        let (said, words) = face.raw(&request).await;
        assert_eq!(said, status, "{words}");
        assert_eq!(face.get("/healthz").await.0, 200, "anybody may ask for its health");
        face.end().await;
    };
    let elsewhere = || Allowed::Networks(networks(&["192.0.2.0/24"]));
    check(Allowed::Networks(networks(&["127.0.0.0/8"])), &[], good(1), 200).await;
    check(elsewhere(), &[], good(1), 403).await;
    check(elsewhere(), &[], proxied("192.0.2.7"), 403).await;
    check(elsewhere(), &["127.0.0.1/32"], proxied("192.0.2.7"), 200).await;
    check(elsewhere(), &["127.0.0.1/32"], proxied("192.0.2.7, 198.51.100.1"), 403).await;
    check(Allowed::Told(told.clone()), &[], good(1), 503).await;
    tell.send(Some(networks(&["127.0.0.0/8"]))).unwrap();
    check(Allowed::Told(told), &[], good(1), 200).await;
}

#[tokio::test]
async fn routes() {
    let face = Face::open(Some(webhook()), None).await;
    let deaf = Face::open(None, None).await;
    let check = async |face: &Face, method: &str, path: &str, status: u16| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert_eq!(face.raw(request.as_bytes()).await.0, status, "{method} {path}");
    };
    check(&face, "GET", "/healthz", 200).await;
    check(&face, "HEAD", "/readyz", 200).await;
    check(&face, "POST", "/healthz", 405).await;
    check(&face, "GET", "/webhook", 405).await;
    check(&face, "GET", "/", 404).await;
    check(&face, "GET", "/v1/status", 404).await;
    check(&deaf, "POST", "/webhook", 404).await;
    check(&deaf, "GET", "/readyz", 200).await;
    face.end().await;
    deaf.end().await;
}

#[tokio::test]
async fn senders_that_say_nothing_keep_nobody_out_for_long() {
    let face = Face::open(Some(webhook()), None).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(face.address).await.unwrap();
        stream.write_all(b"POST /web").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(face.raw(&good(1)).await.0, 200);
    drop(silent);
    face.end().await;
}

#[tokio::test]
async fn one_connection_brings_many() {
    let face = Face::open(Some(webhook()), None).await;
    let keep = |id: i64| String::from_utf8(good(id)).unwrap().replace("connection: close\r\n", "");
    let mut requests: String = (1..20).map(keep).collect();
    requests.push_str(&String::from_utf8(good(20)).unwrap());
    let mut stream = TcpStream::connect(face.address).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(STUCK, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 20, "{answer}");
    face.end().await;
}

/// Writes a new certificate with its key.
fn certify(files: &TlsFiles) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = made.self_signed(&key).unwrap();
    // As renewals do: each whole, one after the other.
    let put = |path: &Path, text: String| {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    };
    put(&files.key, key.serialize_pem());
    put(&files.certificate, made.pem());
    made.der().to_vec()
}

/// The certificate that is shown to whoever trusts `trusted` alone, with an answer by it.
async fn shown(face: &Face, trusted: &[u8]) -> Option<(u16, String)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(face.address).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.ok()?;
    Some(exchange(stream, &good(1)).await)
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    let files = TlsFiles { certificate: path("cert.pem"), key: path("key.pem") };
    let open = async || {
        let listen = "127.0.0.1:0".parse().unwrap();
        let options = IntakeOptions { listen, tls: Some(files.clone()), webhook: None };
        Intake::open(options).await.map(drop).map_err(|error| error.to_string())
    };
    assert!(open().await.unwrap_err().contains("cert.pem"), "a file that is not there");
    let first = certify(&files);
    let face = Face::open(Some(webhook()), Some(files.clone())).await;
    assert_eq!(shown(&face, &first).await.unwrap().0, 200);
    // What can't be used leaves the old one in force.
    std::fs::write(&files.certificate, "no certificate").unwrap();
    let refused = open().await.unwrap_err();
    assert!(refused.contains("cert.pem"), "{refused}");
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(shown(&face, &first).await.unwrap().0, 200);
    let second = certify(&files);
    let renewed = async {
        while shown(&face, &second).await.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    timeout(STUCK, renewed).await.expect("the new certificate is never shown");
    assert!(shown(&face, &first).await.is_none());
    // A key of another certificate is told.
    let other = TlsFiles { certificate: path("other.pem"), key: path("other-key.pem") };
    certify(&other);
    std::fs::copy(&other.key, &files.key).unwrap();
    let refused = open().await.unwrap_err();
    assert!(refused.contains("key.pem"), "{refused}");
    face.end().await;
}
