//! A scale set's message queue: its address and token, the long poll, and everything else that bears the queue's token
//! (protocol.md, 3.3, 3.6, 3.7). The token is renewed where it is refused, once for all who wait.

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::{
    model::{Message, MessageId, ScaleSetId, SessionId},
    ports::{BoxFuture, ForgeError, ForgeErrorKind},
};
use http::{Method, Request, Response, StatusCode, header};
use url::Url;

use crate::{
    address::below,
    authorization::Authorization,
    client::{Shared, user_agent},
    message,
    operation::Operation,
    refusal::{Surface, error, unanswered, within},
    renewable::Renewable,
    scale_sets::{Listed, json},
    service::{Call, bad, read},
    wire::{Manner, locked},
};

/// A scale set's queue, as long as this process holds its session.
#[derive(Default)]
pub(crate) struct Queue {
    pub access: Renewable<QueueAccess>,
}

/// What a session's answer tells of the queue; a refresh replaces all of it (protocol.md, 3.2).
#[derive(Debug)]
pub(crate) struct QueueAccess {
    pub session: SessionId,
    pub url: Url,
    pub authorization: Authorization,
}

impl Shared {
    /// The set's queue, made where there is none.
    pub fn queue(&self, set: ScaleSetId) -> Arc<Queue> {
        Arc::clone(locked(&self.queues).entry(set).or_default())
    }

    /// Forgets the set's queue and its token.
    pub fn forget_queue(&self, set: ScaleSetId) {
        locked(&self.queues).remove(&set);
    }

    pub async fn poll(
        self: &Arc<Self>,
        set: ScaleSetId,
        cursor: MessageId,
        capacity: u32,
    ) -> Result<Option<Message>, ForgeError> {
        let operation = Operation::Poll(set);
        let request = |access: &QueueAccess| {
            let mut url = access.url.clone();
            if cursor.0 > 0 {
                url.query_pairs_mut().append_pair("lastMessageId", &cursor.to_string());
            }
            Request::get(url.as_str())
                .header(header::ACCEPT, "application/json; api-version=6.0-preview")
                .header(header::USER_AGENT, user_agent(Some(set)))
                .header(header::AUTHORIZATION, access.authorization.value())
                .header("X-ScaleSetMaxCapacity", capacity)
                .body(Bytes::new())
        };
        let (access, response) = self.on_queue(&operation, set, Manner::Poll, request).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(None),
            status if status.is_success() => message::parse(&operation, response.body()).map(Some),
            _ => Err(self.queue_refusal(&operation, set, &access, &response)),
        }
    }

    pub async fn acknowledge(
        self: &Arc<Self>,
        set: ScaleSetId,
        message: MessageId,
    ) -> Result<(), ForgeError> {
        let operation = Operation::Acknowledge(set, message);
        let request = |access: &QueueAccess| {
            Request::delete(below(&access.url, [message.to_string().as_str()]).as_str())
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::USER_AGENT, user_agent(Some(set)))
                .header(header::AUTHORIZATION, access.authorization.value())
                .body(Bytes::new())
        };
        let (access, response) = self.on_queue(&operation, set, Manner::Safe, request).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            // The queue says so of an unknown message and of a session that it has lost. Done either way: the messages
            // of a lost session come again to the next one, and are deleted then.
            StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.queue_refusal(&operation, set, &access, &response)),
        }
    }

    pub async fn acquire(
        self: &Arc<Self>,
        set: ScaleSetId,
        requests: &[i64],
    ) -> Result<Vec<i64>, ForgeError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let operation = Operation::Acquire(set, requests.len());
        let admin = self.admin(&operation).await?;
        let set_text = set.to_string();
        let path = ["_apis", "runtime", "runnerscalesets", &set_text, "acquirejobs"];
        let call =
            Call { body: json(&operation, &requests)?, ..Call::on_set(Method::POST, &path, set) };
        // Of all routes of the service this one alone takes the queue's token.
        let request = |access: &QueueAccess| call.request(&admin.service, &access.authorization);
        let (access, response) = self.on_queue(&operation, set, Manner::Once, request).await?;
        if response.status().is_success() {
            let won: Listed<i64> = read(&operation, &response, "no list of acquired jobs")?;
            return Ok(won.value.into_iter().filter(|id| requests.contains(id)).collect());
        }
        let refusal = self.judge(&operation, call.surface, &access.authorization).judge(&response);
        match refusal.kind {
            // A router's 404: this server assigns by itself (protocol.md, 3.7).
            ForgeErrorKind::Refused if response.status() == StatusCode::NOT_FOUND => Ok(Vec::new()),
            _ => Err(refusal),
        }
    }

    /// Sends a request that bears the queue's token; one that is refused with 401 is sent again with a new token. The
    /// answer, whatever its status, is the caller's to judge.
    async fn on_queue(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        set: ScaleSetId,
        manner: Manner,
        request: impl Fn(&QueueAccess) -> Result<Request<Bytes>, http::Error>,
    ) -> Result<(Arc<QueueAccess>, Response<Bytes>), ForgeError> {
        let queue = self.queue(set);
        let Some(mut access) = queue.access.held() else {
            let detail =
                "no session of this scale set is open in this process: open or refresh one first";
            return Err(error(operation, ForgeErrorKind::SessionGone, detail));
        };
        let mut renewed = false;
        loop {
            let message = request(&access).map_err(|cause| bad(operation, &cause))?;
            let response = self.wire.send(message, manner).await;
            let response = response
                .map_err(|cause| unanswered(operation, access.authorization.token(), &cause))?;
            if response.status() != StatusCode::UNAUTHORIZED || renewed {
                return Ok((access, response));
            }
            renewed = true;
            access = self
                .renew_access(set, &queue, &access)
                .await
                .map_err(|inner| within(operation, &inner))?;
        }
    }

    async fn renew_access(
        self: &Arc<Self>,
        set: ScaleSetId,
        queue: &Arc<Queue>,
        stale: &Arc<QueueAccess>,
    ) -> Result<Arc<QueueAccess>, ForgeError> {
        let renew = || -> BoxFuture<'static, Result<Arc<QueueAccess>, ForgeError>> {
            let (shared, queue, session) = (self.clone(), queue.clone(), stale.session.clone());
            Box::pin(async move {
                let (_, access) = shared.refreshed(set, &session).await?;
                Ok(queue.access.keep(access))
            })
        };
        let renewed = queue.access.get(|held| !std::ptr::eq(held, Arc::as_ptr(stale)), renew).await;
        if matches!(&renewed, Err(refusal) if refusal.kind == ForgeErrorKind::SessionGone) {
            queue.access.discard(stale);
        }
        renewed
    }

    /// Judges an answer of the queue. A session that is gone takes its token with it.
    fn queue_refusal(
        &self,
        operation: &Operation<'_>,
        set: ScaleSetId,
        access: &Arc<QueueAccess>,
        response: &Response<Bytes>,
    ) -> ForgeError {
        let refusal = self.judge(operation, Surface::Queue, &access.authorization).judge(response);
        if refusal.kind == ForgeErrorKind::SessionGone {
            self.queue(set).access.discard(access);
        }
        refusal
    }
}
