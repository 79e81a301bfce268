//! Calls on the Actions service with the admin connection (protocol.md, 1.5).

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::{
    model::ScaleSetId,
    planted::{Bug, planted},
    ports::{ForgeError, ForgeErrorKind, TransportError},
};
use http::{Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{
    address::below,
    admin::AdminConnection,
    authorization::Authorization,
    client::{Shared, user_agent},
    operation::Operation,
    refusal::{Surface, error, unanswered, unreadable, without_bom},
    wire::Manner,
};

/// The version of the service's API (protocol.md, 1.5).
const API_VERSION: &str = "6.0-preview";

/// One call on the service.
pub(crate) struct Call<'a> {
    pub method: Method,
    /// Below the service's address.
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    pub body: Bytes,
    pub manner: Manner,
    pub surface: Surface,
    /// The scale set that it is about, for GitHub's attribution.
    pub set: Option<ScaleSetId>,
}

impl<'a> Call<'a> {
    /// A call without query and body, safe to repeat.
    pub fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: &[],
            body: Bytes::new(),
            manner: Manner::Safe,
            surface: Surface::Service,
            set: None,
        }
    }

    /// A call below one scale set's path.
    pub fn on_set(method: Method, path: &'a [&'a str], set: ScaleSetId) -> Self {
        Self { surface: Surface::ScaleSet, set: Some(set), ..Self::new(method, path) }
    }

    fn url(&self, service: &Url) -> Url {
        let mut url = below(service, self.path.iter().copied());
        url.query_pairs_mut().extend_pairs(self.query).append_pair("api-version", API_VERSION);
        url
    }

    /// The request; `authorization` may be another than the admin connection's.
    pub fn request(
        &self,
        service: &Url,
        authorization: &Authorization,
    ) -> Result<Request<Bytes>, http::Error> {
        Request::builder()
            .method(self.method.clone())
            .uri(self.url(service).as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, user_agent(self.set))
            .header(header::AUTHORIZATION, authorization.value())
            .body(self.body.clone())
    }
}

impl Shared {
    /// One call on the service.
    pub async fn service(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        call: &Call<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        let (admin, answer) = self.service_answer(operation, call).await?;
        let response =
            answer.map_err(|cause| unanswered(operation, admin.authorization.token(), &cause))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.judge(operation, call.surface, &admin.authorization).judge(&response))
    }

    /// One call on the service, whose answer is the caller's to judge. A token that is refused is renewed once. The outer
    /// error says that the call itself was not sent.
    pub async fn service_answer(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        call: &Call<'_>,
    ) -> Result<(Arc<AdminConnection>, Result<Response<Bytes>, TransportError>), ForgeError> {
        let mut renewed = false;
        loop {
            let admin = self.admin(operation).await?;
            let request = call
                .request(&admin.service, &admin.authorization)
                .map_err(|cause| bad(operation, &cause))?;
            let answer = self.wire.send(request, call.manner).await;
            let refused =
                matches!(&answer, Ok(response) if response.status() == StatusCode::UNAUTHORIZED);
            if !refused || renewed || planted(Bug::TokenNeverRenewed) {
                return Ok((admin, answer));
            }
            renewed = true;
            self.admin.discard(&admin);
        }
    }
}

/// A request that HTTP does not allow.
pub(crate) fn bad(operation: &Operation<'_>, cause: &http::Error) -> ForgeError {
    error(operation, ForgeErrorKind::Refused, &format!("no valid request: {cause}"))
}

/// Reads an answer of the service; what does not fit is never quoted, as it may hold a token.
pub(crate) fn read<T: DeserializeOwned>(
    operation: &Operation<'_>,
    response: &Response<Bytes>,
    what: &str,
) -> Result<T, ForgeError> {
    serde_json::from_slice(without_bom(response.body())).map_err(|cause| {
        unreadable(
            operation,
            Surface::Service,
            &format!("{what} (line {}, column {})", cause.line(), cause.column()),
        )
    })
}
