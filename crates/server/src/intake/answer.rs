//! What is answered to a request.

use std::{net::IpAddr, time::Duration};

use dayfly_engine::{Handle, NotTaken};
use dayfly_github::{Delivery, SignatureError};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
};
use tokio::time::timeout;
use tracing::{debug, error};

use super::{
    addresses::{Admission, sender},
    body::{Room, Unread},
    listener::WebhookOptions,
    refusals::Refusals,
};

/// Where webhooks are delivered.
const WEBHOOK: &str = "/webhook";

/// How long the store may take: with the body's time, less than the ten seconds that GitHub waits (protocol.md, 5.4).
const STORED_TIME: Duration = Duration::from_secs(3);

/// How long the controller may take to say that it lives.
const READY_TIME: Duration = Duration::from_secs(5);

/// When to come back, in seconds. GitHub does not by itself; we ask it to.
const LATER_S: &str = "10";

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub(crate) struct Desk {
    handle: Handle,
    webhook: Option<WebhookOptions>,
    room: Room,
    refusals: Refusals,
}

impl Desk {
    pub fn new(handle: Handle, webhook: Option<WebhookOptions>) -> Self {
        Self { handle, webhook, room: Room::default(), refusals: Refusals::default() }
    }

    /// Answers one request of `peer`.
    pub async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (&self.webhook, path) {
            (_, "/healthz") if reads => said(StatusCode::OK, "ok"),
            (_, "/readyz") if reads => self.ready().await,
            (Some(webhook), WEBHOOK) if *request.method() == Method::POST => {
                match self.take(webhook, peer, request).await {
                    Ok(words) => said(StatusCode::OK, words),
                    Err(refused) => self.refuse(peer, &refused),
                }
            }
            (Some(_), WEBHOOK) => not_allowed("POST"),
            (_, "/healthz" | "/readyz") => not_allowed("GET, HEAD"),
            _ => said(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    /// Whether the daemon can do its work: its controller lives, and its store can be written.
    async fn ready(&self) -> Answer {
        let look = self.handle.read(|view| view.store_error.is_none());
        match timeout(READY_TIME, look).await {
            Ok(Ok(true)) => said(StatusCode::OK, "ready"),
            Ok(Ok(false)) => said(StatusCode::SERVICE_UNAVAILABLE, "the store can't be written"),
            Ok(Err(_)) => said(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending"),
            Err(_) => said(StatusCode::SERVICE_UNAVAILABLE, "the daemon gives no answer"),
        }
    }

    /// Takes a delivery in. What it told is on disk when this says so.
    async fn take(
        &self,
        webhook: &WebhookOptions,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<&'static str, Refused> {
        let (head, body) = request.into_parts();
        let sender = || sender(peer, &webhook.trusted_proxies, &head.headers);
        match webhook.allowed.admit(sender) {
            Admission::Granted => {}
            Admission::Unknown => return Err(Refused::NotKnownYet),
            Admission::Refused => return Err(Refused::Sender),
        }
        let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
        let signature = header("x-hub-signature-256");
        // What can be no signature of anything spares the reading.
        let of_nothing = webhook.secrets.verify(signature, b"");
        if let Err(why @ (SignatureError::Missing | SignatureError::Form)) = of_nothing {
            return Err(Refused::Signature(why.to_string()));
        }
        let body = self.room.read(body).await.map_err(Refused::Body)?;
        webhook
            .secrets
            .verify(signature, &body.body)
            .map_err(|why| Refused::Signature(why.to_string()))?;
        let event = text(&head.headers, "x-github-event").ok_or(Refused::NoEvent)?;
        let kind = text(&head.headers, header::CONTENT_TYPE.as_str());
        let delivery = Delivery::parse(event, kind, &body.body)
            .map_err(|why| Refused::Payload(why.to_string()))?;
        drop(body);
        let job = match delivery {
            Delivery::WorkflowJob(job) => *job,
            Delivery::Ping => return Ok("the webhook works"),
            Delivery::Other => return Ok("this event means nothing to dayfly"),
        };
        let delivery = text(&head.headers, "x-github-delivery").unwrap_or_default();
        debug!(%delivery, job = %job.id, repository = %job.repository, status = job.status.word(), "a delivery");
        match timeout(STORED_TIME, self.handle.evidence(job)).await {
            Ok(Ok(())) => Ok("stored"),
            Ok(Err(why)) => Err(Refused::NotTaken(why)),
            Err(_) => Err(Refused::NotStored),
        }
    }

    fn refuse(&self, peer: IpAddr, refused: &Refused) -> Answer {
        let (status, words) = refused.words();
        self.refusals.note(peer, status.as_u16(), &words);
        if let Refused::NotTaken(NotTaken::NotStored(cause)) = refused {
            error!(%cause, "a delivery could not be stored; it is asked for again");
        }
        let mut answer = said(status, &words);
        let headers = answer.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(LATER_S));
        }
        // What was not read of the request would be taken for the next one.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}

/// Why a delivery was not taken.
enum Refused {
    Sender,
    NotKnownYet,
    Signature(String),
    Body(Unread),
    NoEvent,
    Payload(String),
    NotTaken(NotTaken),
    NotStored,
}

impl Refused {
    fn words(&self) -> (StatusCode, String) {
        let (status, words) = match self {
            Self::Sender => (StatusCode::FORBIDDEN, "webhooks are not taken from this address"),
            Self::NotKnownYet => (
                StatusCode::SERVICE_UNAVAILABLE,
                "GitHub has not yet told where its webhooks come from",
            ),
            Self::Signature(why) => (StatusCode::UNAUTHORIZED, why.as_str()),
            Self::Body(Unread::TooLarge) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the payload is larger than 25 MB")
            }
            Self::Body(Unread::TooSlow) => {
                (StatusCode::REQUEST_TIMEOUT, "the payload came too slowly")
            }
            Self::Body(Unread::NoRoom) => {
                (StatusCode::SERVICE_UNAVAILABLE, "other payloads take all the room that there is")
            }
            Self::Body(Unread::Broken) => (StatusCode::BAD_REQUEST, "the payload broke off"),
            Self::NoEvent => (StatusCode::BAD_REQUEST, "it has no X-GitHub-Event"),
            Self::Payload(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.as_str()),
            Self::NotTaken(why) => return (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
            Self::NotStored => (StatusCode::SERVICE_UNAVAILABLE, "it could not be stored in time"),
        };
        (status, words.to_owned())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, "not this method");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn said(status: StatusCode, words: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{words}\n")));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
