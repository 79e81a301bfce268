//! The client of the broker: a runner's token, session, messages and job calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::channel::{Channel, Failure};
use crate::jit::JitConfig;
use crate::message::{JobBody, Message, StepResult};

/// Version that the stand-in says it has: above the service's minimum for registration (2.329.0).
pub(crate) const VERSION: &str = "2.330.0";

/// Bound of an ordinary call: the service answers in milliseconds.
const CALL_S_MAX: u64 = 30;
/// Bound of a message poll: the service holds it for about 50 s.
const POLL_S_MAX: u64 = 120;

/// Why a call to the broker failed. Never holds a token.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The configuration names a URL that cannot be used.
    #[error("`{0}` is no http:// URL; the stand-in runner speaks plain HTTP only")]
    Url(String),
    /// No connection.
    #[error("failed to connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke or the answer is no HTTP.
    #[error("failed to {0}: the connection broke")]
    Broken(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("failed to {0}: no answer in time")]
    TimedOut(&'static str),
    /// The service said no.
    #[error("failed to {what}: {status} {kind}: {message}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
        /// `errorKind` or `error` of the answer.
        kind: String,
        /// The service's words.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("failed to {0}: the answer is not what it should be")]
    Answer(&'static str, #[source] serde_json::Error),
    /// The client assertion could not be signed.
    #[error("failed to sign the client assertion with the configuration's key")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

impl BrokerError {
    /// Whether the service answered with this `errorKind`.
    #[must_use]
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == wanted)
    }

    /// Whether the same call may work in a moment: no answer, or an error of the service's own.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(..) | Self::Broken(..) | Self::TimedOut(_) => true,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Url(_) | Self::Answer(..) | Self::Sign(_) => false,
        }
    }

    /// Whether the access token is no longer good.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED)
    }
}

/// A runner's connection to the broker.
pub struct Broker {
    config: Arc<JitConfig>,
    base: Uri,
    channel: Option<Channel>,
    token: Option<String>,
    session: Option<Uuid>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("base", &self.base)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker for this configuration; connects with the first call.
    ///
    /// # Errors
    /// When the configuration's URL is not one of plain HTTP.
    pub fn new(config: Arc<JitConfig>) -> Result<Self, BrokerError> {
        let base = uri(&config.server_url)?;
        uri(&config.authorization_url)?;
        Ok(Self { config, base, channel: None, token: None, session: None })
    }

    /// Another connection of the same session.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            config: self.config.clone(),
            base: self.base.clone(),
            channel: None,
            token: self.token.clone(),
            session: self.session,
        }
    }

    /// Trades a signed assertion for an access token.
    ///
    /// # Errors
    /// When the service refuses (`invalid_client`: the registration is gone or stale) or does not answer.
    pub async fn authenticate(&mut self) -> Result<(), BrokerError> {
        const WHAT: &str = "get an access token";
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
        }
        let now = wall().as_second();
        let claims = json!({
            "sub": self.config.client_id,
            "iss": self.config.client_id,
            "aud": self.config.authorization_url,
            "jti": jti(),
            "nbf": now - 30,
            "iat": now - 30,
            "exp": now + 300,
        });
        let assertion = self.config.key.sign(&claims).map_err(BrokerError::Sign)?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .append_pair("client_assertion", &assertion)
            .finish();
        let path = uri(&self.config.authorization_url)?.path().to_owned();
        let answer = self
            .call(
                WHAT,
                Method::POST,
                &path,
                "application/x-www-form-urlencoded",
                body.into(),
                CALL_S_MAX,
            )
            .await?;
        let granted: Granted =
            serde_json::from_slice(&answer).map_err(|source| BrokerError::Answer(WHAT, source))?;
        self.token = Some(granted.access_token);
        Ok(())
    }

    /// Opens the runner's session.
    ///
    /// # Errors
    /// When the service refuses (409: another runner holds it) or does not answer.
    pub async fn open_session(&mut self) -> Result<(), BrokerError> {
        const WHAT: &str = "create a session";
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Opened {
            session_id: Uuid,
        }
        let body = json!({
            "sessionId": Uuid::nil(),
            "ownerName": self.config.agent_name,
            "agent": { "name": self.config.agent_name, "version": VERSION, "osDescription": std::env::consts::OS, "ephemeral": true },
            "useFipsEncryption": true,
        });
        let answer = self.post(WHAT, &self.below_base("session"), &body).await?;
        let opened: Opened =
            serde_json::from_slice(&answer).map_err(|source| BrokerError::Answer(WHAT, source))?;
        self.session = Some(opened.session_id);
        Ok(())
    }

    /// Ends the runner's session.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn close_session(&mut self) -> Result<(), BrokerError> {
        let path = self.below_base("session");
        self.call(
            "delete the session",
            Method::DELETE,
            &path,
            "application/json",
            Bytes::new(),
            CALL_S_MAX,
        )
        .await
        .map(drop)
    }

    /// Waits for a message; `None`: nothing came in the time that the service holds a poll.
    ///
    /// # Errors
    /// When the service refuses (`RunnerNotFound`: the registration is gone) or does not answer.
    pub async fn message(&mut self, busy: bool) -> Result<Option<Message>, BrokerError> {
        const WHAT: &str = "get a message";
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope {
            message_type: String,
            body: String,
        }
        #[derive(Deserialize)]
        struct Body {
            #[serde(alias = "runner_request_id", alias = "jobId")]
            job: Uuid,
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("sessionId", &self.session.unwrap_or_default().to_string())
            .append_pair("status", if busy { "Busy" } else { "Online" })
            .append_pair("runnerVersion", VERSION)
            .append_pair("os", std::env::consts::OS)
            .append_pair("architecture", std::env::consts::ARCH)
            .append_pair("disableUpdate", "true")
            .finish();
        let path = format!("{}?{query}", self.below_base("message"));
        let answer = self
            .call(WHAT, Method::GET, &path, "application/json", Bytes::new(), POLL_S_MAX)
            .await?;
        if answer.is_empty() {
            return Ok(None);
        }
        let wrong = |source| BrokerError::Answer(WHAT, source);
        let envelope: Envelope = serde_json::from_slice(&answer).map_err(wrong)?;
        let body: Body = serde_json::from_str(&envelope.body).map_err(wrong)?;
        Ok(match envelope.message_type.as_str() {
            "RunnerJobRequest" => Some(Message::Job { id: body.job }),
            "JobCancellation" => Some(Message::Cancel { id: body.job }),
            // Kinds that the stand-in has no use for.
            _ => None,
        })
    }

    /// Accepts a job.
    ///
    /// # Errors
    /// When the job is gone (404), taken (409) or deleted (422), or the service does not answer.
    pub async fn acquire(&mut self, job: Uuid) -> Result<JobBody, BrokerError> {
        const WHAT: &str = "acquire the job";
        let body = json!({ "jobMessageId": job, "runnerOS": "Linux", "billingOwnerId": "" });
        let answer = self.post(WHAT, "/run-service/acquirejob", &body).await?;
        serde_json::from_slice(&answer).map_err(|source| BrokerError::Answer(WHAT, source))
    }

    /// Tells the broker that the job's message has arrived.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn acknowledge(&mut self, job: Uuid) -> Result<(), BrokerError> {
        let path = self.below_base("acknowledge");
        self.post("acknowledge the job", &path, &json!({ "runnerRequestId": job })).await.map(drop)
    }

    /// Renews the job's lock.
    ///
    /// # Errors
    /// When the job is over for the service (404), or it does not answer.
    pub async fn renew(&mut self, job: Uuid) -> Result<(), BrokerError> {
        self.post("renew the job", "/run-service/renewjob", &json!({ "planID": job, "jobID": job }))
            .await
            .map(drop)
    }

    /// Reports when the first step's process began, as Unix seconds.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn first_step(&mut self, job: Uuid, at: Timestamp) -> Result<(), BrokerError> {
        let at = jiff::SignedDuration::from_nanos_i128(at.as_nanosecond()).as_secs_f64();
        self.post(
            "report the first step",
            "/run-service/firststep",
            &json!({ "jobID": job, "startedAt": at }),
        )
        .await
        .map(drop)
    }

    /// Sends output of the job.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn log(&mut self, job: Uuid, lines: &str) -> Result<(), BrokerError> {
        self.post(
            "send the job's output",
            "/run-service/log",
            &json!({ "jobID": job, "lines": lines }),
        )
        .await
        .map(drop)
    }

    /// Ends the job.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn complete(
        &mut self,
        job: Uuid,
        conclusion: &str,
        steps: &[StepResult],
    ) -> Result<(), BrokerError> {
        let body = json!({ "planID": job, "jobID": job, "conclusion": conclusion, "outputs": {}, "stepResults": steps });
        self.post("complete the job", "/run-service/completejob", &body).await.map(drop)
    }

    fn below_base(&self, part: &str) -> String {
        format!("{}/{part}", self.base.path().trim_end_matches('/'))
    }

    async fn post(
        &mut self,
        what: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<Bytes, BrokerError> {
        self.call(what, Method::POST, path, "application/json", body.to_string().into(), CALL_S_MAX)
            .await
    }

    async fn call(
        &mut self,
        what: &'static str,
        method: Method,
        path: &str,
        content: &'static str,
        body: Bytes,
        seconds: u64,
    ) -> Result<Bytes, BrokerError> {
        match tokio::time::timeout(
            Duration::from_secs(seconds),
            self.exchange(what, method, path, content, body),
        )
        .await
        {
            Ok(result) => result,
            Err(_) => {
                // The connection still waits for that answer.
                self.channel = None;
                Err(BrokerError::TimedOut(what))
            }
        }
    }

    async fn exchange(
        &mut self,
        what: &'static str,
        method: Method,
        path: &str,
        content: &'static str,
        body: Bytes,
    ) -> Result<Bytes, BrokerError> {
        let authority = self.base.authority().map(ToString::to_string).unwrap_or_default();
        let broken = |source: Failure| BrokerError::Broken(what, source);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority.as_str())
            .header(header::USER_AGENT, concat!("dayfly-runner-stub/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, content);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|error| broken(error.into()))?;
        let usable = match &mut self.channel {
            Some(channel) => channel.is_usable().await,
            None => false,
        };
        let mut channel = match self.channel.take().filter(|_| usable) {
            Some(channel) => channel,
            None => Channel::connect(&authority, what).await?,
        };
        let (status, body) = channel.exchange(request).await.map_err(broken)?;
        self.channel = Some(channel);
        if status.is_success() {
            return Ok(body);
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let member = |names: [&str; 2]| {
            names.iter().find_map(|name| value[*name].as_str()).unwrap_or_default().to_owned()
        };
        Err(BrokerError::Refused {
            what,
            status,
            kind: member(["errorKind", "error"]),
            message: member(["errorMessage", "error_description"]),
        })
    }
}

fn uri(text: &str) -> Result<Uri, BrokerError> {
    let wrong = || BrokerError::Url(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        return Err(wrong());
    }
    Ok(uri)
}

#[expect(clippy::disallowed_methods, reason = "this program stands alone: it has no clock port")]
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}

#[expect(clippy::disallowed_methods, reason = "this program stands alone: it has no port for ids")]
fn jti() -> String {
    Uuid::new_v4().to_string()
}
