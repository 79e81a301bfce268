//! Calls on the server's API: bounded in time and size, over its socket or over TLS.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dayfly_core::ports::BackendError;
use reqwest::{Method, RequestBuilder, StatusCode, Url, redirect::Policy};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{fs::File, time::sleep};
use tokio_util::io::ReaderStream;

use super::{
    address::{Address, LxdOptions, LxdServer, Product},
    error::{Failed, chain},
    fence::Wanted,
    tls,
    wire::{Answer, Operation, last_segment},
};

/// A server that takes longer to connect is not there.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long the server may take to answer a call that it does not hold back on purpose. A list on a loaded machine takes
/// seconds.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// How long a large file may be on its way: 200 MB over a line of 10 Mbit/s.
const LARGE_TIME: Duration = Duration::from_secs(180);

/// How much of a large file is read at once.
const PART_BYTES: usize = 256 << 10;

/// For how long the server is asked to hold back its answer to "has it ended?", in seconds; then it is asked again.
const HELD_S: u64 = 60;

/// How long until an operation is asked after whose wait was refused: a server that refuses every wait is not asked without
/// end. It keeps an operation for 5 s after its end.
const BETWEEN_WAITS: Duration = Duration::from_millis(100);

/// How long an operation is waited for. A first image is downloaded and unpacked within it, and goes on where nobody
/// waits any more.
const OPERATION_TIME: Duration = Duration::from_secs(30 * 60);

/// The longest answer that is read: some ten thousand instances.
const BODY_MAX: usize = 64 << 20;

/// The longest refusal that is read.
const REFUSAL_MAX: usize = 64 << 10;

/// How often an idle connection to a remote server is probed, so that one that died unseen is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A server's API, in one project of it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: Address,
    options: LxdOptions,
    http: reqwest::Client,
    base: Url,
    /// The networks of ours that were wanted of late.
    pub(super) fences: Wanted,
}

/// What is sent.
pub(super) enum Body {
    Nothing,
    Json(Vec<u8>),
    /// A file for an instance: for root alone.
    File(Bytes),
    /// The same, read from a file here while it is sent.
    LargeFile(File),
}

impl Body {
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Failed> {
        serde_json::to_vec(value)
            .map(Self::Json)
            .map_err(|error| Failed::Unsent(format!("the request can't be written: {error}")))
    }
}

impl Client {
    /// Reads the certificates; asks the server nothing.
    ///
    /// # Errors
    /// Where an address or a certificate can't be used.
    pub(super) fn new(options: &LxdOptions) -> Result<Self, BackendError> {
        let address = Address::resolve(options.product, &options.server)?;
        let base = match &address {
            Address::Url(url) => url.clone(),
            // The socket is the host; this name is not looked up.
            Address::Socket(_) => Url::parse("http://lxd/")
                .map_err(|error| tls::unusable("the socket's address", &error))?,
        };
        let http = build(&address, &options.server)?;
        Ok(Self { address, options: options.clone(), http, base, fences: Wanted::default() })
    }

    /// Whose server it is.
    pub(super) fn product(&self) -> Product {
        self.options.product
    }

    /// The member of a cluster that instances are made on.
    pub(super) fn target(&self) -> Option<&str> {
        self.options.target.as_deref()
    }

    /// A path of the API, and its query beside the project.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        {
            let mut pairs = url.query_pairs_mut();
            if let Some(project) = &self.options.project {
                pairs.append_pair("project", project);
            }
            pairs.extend_pairs(query);
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        url
    }

    /// A request that is to take a connection over for itself.
    pub(super) fn upgrade(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        self.http.get(self.url(path, query))
    }

    /// Sends a request, and gives the answer's status and its body.
    pub(super) async fn exchange(
        &self,
        method: Method,
        url: Url,
        body: Body,
        size_max: usize,
    ) -> Result<(StatusCode, Bytes), Failed> {
        let time = if matches!(body, Body::LargeFile(_)) { LARGE_TIME } else { ANSWER_TIME };
        let request = self.http.request(method, url).timeout(time);
        let request = match body {
            Body::Nothing => request,
            Body::Json(bytes) => request.header("content-type", "application/json").body(bytes),
            Body::File(bytes) => as_file(request).body(bytes),
            Body::LargeFile(file) => {
                let parts = ReaderStream::with_capacity(file, PART_BYTES);
                as_file(request).body(reqwest::Body::wrap_stream(parts))
            }
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        // A refusal's words are more than the few bytes that are wanted of a file.
        let size_max = if status.is_success() { size_max } else { size_max.max(REFUSAL_MAX) };
        let mut body = BytesMut::new();
        while body.len() < size_max {
            let Some(chunk) = response.chunk().await.map_err(failed)? else {
                return Ok((status, body.freeze()));
            };
            let room = size_max - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok((status, body.freeze()))
    }

    /// Calls, and reads the answer's head.
    async fn call(&self, method: Method, url: Url, body: Body) -> Result<Answer, Failed> {
        let (status, body) = self.exchange(method, url, body, BODY_MAX).await?;
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(_) if body.len() >= BODY_MAX => {
                return Err(Failed::Lost(format!("its answer is longer than {BODY_MAX} bytes")));
            }
            Err(_) if !status.is_success() => {
                let words = String::from_utf8_lossy(&body).chars().take(500).collect();
                return Err(Failed::Refused { status: status.as_u16(), words });
            }
            Err(error) => {
                return Err(Failed::Lost(format!("its answer is not LXD's: {error}")));
            }
        };
        if answer.kind == "error" || !status.is_success() {
            let status = if answer.error_code >= 400 { answer.error_code } else { status.as_u16() };
            return Err(Failed::Refused { status, words: answer.error });
        }
        Ok(answer)
    }

    /// Reads.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failed> {
        let answer = self.call(Method::GET, self.url(path, query), Body::Nothing).await?;
        read(answer)
    }

    /// Changes, and waits until the change is done.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Operation, Failed> {
        let answer = self.call(method, self.url(path, query), body).await?;
        if answer.kind != "async" {
            return Ok(Operation::default());
        }
        let operation: Operation = read(answer)?;
        self.wait(&operation.id).await
    }

    /// Waits for an operation.
    pub(super) async fn wait(&self, id: &str) -> Result<Operation, Failed> {
        // It becomes part of an address.
        let plain = (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plain {
            return Err(Failed::Lost("it names an operation that is none".to_owned()));
        }
        let path = format!("/1.0/operations/{id}");
        let held = HELD_S.to_string();
        let ended = async {
            loop {
                let held = self.get(&format!("{path}/wait"), &[("timeout", &held)]).await;
                let operation: Operation = match held {
                    // Incus 6.0 tells of an operation that failed, and of one that goes on for longer, as if the wait had
                    // failed: the operation itself knows.
                    Err(Failed::Refused { .. }) => {
                        sleep(BETWEEN_WAITS).await;
                        self.get(&path, &[]).await?
                    }
                    held => held?,
                };
                match operation.status_code {
                    200 => return Ok(operation),
                    100..=199 => {}
                    _ => return Err(Failed::Fell(operation.err)),
                }
            }
        };
        let ended = tokio::time::timeout(OPERATION_TIME, ended).await;
        match ended {
            // The server forgets an operation seconds after its end.
            Ok(Err(Failed::Refused { status: 404, .. })) => {
                Err(Failed::Lost("the operation is not known any more".to_owned()))
            }
            // Whatever the wait met, the operation was begun.
            Ok(Err(Failed::Unsent(words) | Failed::Refused { words, .. })) => {
                Err(Failed::Lost(words))
            }
            Ok(result) => result,
            Err(_) => Err(Failed::Lost("the operation did not end in time".to_owned())),
        }
    }
}

/// Says that the body is a file for an instance's root alone, by both names of each header: the one's server does not know
/// the other's.
fn as_file(request: RequestBuilder) -> RequestBuilder {
    let mut request = request.header("content-type", "application/octet-stream");
    for prefix in ["X-LXD", "X-Incus"] {
        for (name, value) in
            [("uid", "0"), ("gid", "0"), ("mode", "0600"), ("type", "file"), ("write", "overwrite")]
        {
            request = request.header(format!("{prefix}-{name}"), value);
        }
    }
    request
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, Failed> {
    serde_json::from_value(answer.metadata)
        .map_err(|error| Failed::Lost(format!("its answer is not LXD's: {error}")))
}

/// Sorts a failure by what it says about the request: never sent, or perhaps carried out.
fn failed(error: reqwest::Error) -> Failed {
    let error = error.without_url();
    let words = chain(&error);
    if error.is_connect() || error.is_builder() {
        Failed::Unsent(words)
    } else {
        Failed::Lost(words)
    }
}

fn build(address: &Address, server: &LxdServer) -> Result<reqwest::Client, BackendError> {
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIME)
        .redirect(Policy::none())
        .no_proxy()
        // The event stream takes a connection over, which HTTP/2 has no way for.
        .http1_only();
    let builder = match (address, server) {
        // LXD 5.0 takes the next connection of its socket once the one before has sent its first bytes. A pool opens
        // connections beforehand, which say nothing: for as long as one is kept, nobody else is heard, the hooks of
        // instances that start or end among them.
        (Address::Socket(path), _) => builder.unix_socket(path.clone()).pool_max_idle_per_host(0),
        (Address::Url(_), LxdServer::Remote(remote)) => {
            let builder = builder.https_only(true).tcp_keepalive(KEEP_ALIVE);
            match &remote.server_certificate {
                Some(certificate) => {
                    builder.tls_backend_preconfigured(tls::pinned(certificate, remote)?)
                }
                None => builder.identity(tls::identity(remote)?),
            }
        }
        (Address::Url(_), _) => builder,
    };
    builder.build().map_err(|error| tls::unusable("the connection", &chain(&error)))
}

/// The name of an instance that a path of the API names.
pub(super) fn instance_of(source: &str) -> Option<&str> {
    let path = source.split('?').next()?;
    path.contains("/instances/").then(|| last_segment(path)).flatten()
}
