//! Calls on GitHub's public REST API, with the user's own credential.

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::{
    planted::{Bug, planted},
    ports::{ForgeError, ForgeErrorKind, TransportError},
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use jiff::SignedDuration;
use url::Url;

use crate::{
    app::InstallationToken,
    authorization::Authorization,
    client::{Shared, user_agent},
    credential::Signer,
    limits::{Bucket, limited_until},
    operation::Operation,
    redirect,
    refusal::{Judge, Surface, error, unanswered, within},
    wire::Manner,
};

/// The version of the REST API that this client was written for (protocol.md, 5).
const API_VERSION: &str = "2022-11-28";

/// A token that GitHub gives is used until this long before its end (protocol.md, 1.2).
const TOKEN_MARGIN: SignedDuration = SignedDuration::from_mins(5);

impl Shared {
    /// One REST call below the scope.
    pub async fn rest(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        method: Method,
        url: &Url,
    ) -> Result<Response<Bytes>, ForgeError> {
        let (authorization, response) = self.rest_answer(operation, method, url).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.rest_refusal(operation, Surface::Rest, Bucket::Core, &authorization, &response))
    }

    /// One REST call below the scope, whose answer is the caller's to judge. Redirects within the host are followed; an
    /// installation token that is refused is renewed once.
    pub async fn rest_answer(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        method: Method,
        url: &Url,
    ) -> Result<(Authorization, Response<Bytes>), ForgeError> {
        self.rest_ask(operation, method, url, Bytes::new(), None).await
    }

    /// [`Self::rest_answer`] with a body, or with the tag of an answer that is known: where it still holds, GitHub says so by 304,
    /// which costs nothing of the hour (protocol.md, 5.5). What makes something new must not be asked by this: it is repeated
    /// where the answer is lost.
    pub async fn rest_ask(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        method: Method,
        url: &Url,
        body: Bytes,
        known: Option<&HeaderValue>,
    ) -> Result<(Authorization, Response<Bytes>), ForgeError> {
        let mut authorization = self.bearer(operation).await?;
        let mut url = url.clone();
        let mut followed = 0;
        let mut renewed = false;
        loop {
            let call = self.rest_send(
                operation,
                Bucket::Core,
                &authorization,
                method.clone(),
                &url,
                body.clone(),
                Manner::Safe,
                known,
            );
            let response = call
                .await?
                .map_err(|cause| unanswered(operation, authorization.token(), &cause))?;
            if self.may_renew(&authorization, &response) && !renewed {
                renewed = true;
                authorization = self.bearer(operation).await?;
                continue;
            }
            match redirect::target(&url, &response) {
                Some(target) if method == Method::GET && followed < redirect::FOLLOWED_MAX => {
                    followed += 1;
                    url = target;
                }
                _ => return Ok((authorization, response)),
            }
        }
    }

    /// One REST call below the scope that must not be carried out twice: an answer that is lost is the caller's to judge, as
    /// any other. An installation token that is refused, which makes nothing, is renewed once.
    pub async fn rest_once(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        url: &Url,
        body: Bytes,
    ) -> Result<(Authorization, Result<Response<Bytes>, TransportError>), ForgeError> {
        let mut authorization = self.bearer(operation).await?;
        let send = async |authorization: &Authorization| {
            let (bucket, method) = (Bucket::Core, Method::POST);
            let body = body.clone();
            self.rest_send(operation, bucket, authorization, method, url, body, Manner::Once, None)
                .await
        };
        let mut answer = send(&authorization).await?;
        if answer.as_ref().is_ok_and(|response| self.may_renew(&authorization, response)) {
            authorization = self.bearer(operation).await?;
            answer = send(&authorization).await?;
        }
        Ok((authorization, answer))
    }

    /// Whether an answer refuses an installation token, of which another one is to be had. It is used no more.
    fn may_renew(&self, refused: &Authorization, response: &Response<Bytes>) -> bool {
        let is_app = matches!(self.signer, Signer::App(_));
        if !is_app || response.status() != StatusCode::UNAUTHORIZED {
            return false;
        }
        if let Some(held) = self.installation.held().filter(|held| held.authorization == *refused) {
            self.installation.discard(&held);
        }
        true
    }

    /// The user's own token, or the App's installation's.
    async fn bearer(
        self: &Arc<Self>,
        operation: &Operation<'_>,
    ) -> Result<Authorization, ForgeError> {
        match &self.signer {
            Signer::Token(authorization) => Ok(authorization.clone()),
            Signer::App(_) => {
                let is_good = |token: &InstallationToken| {
                    self.wire.github_now().duration_until(token.expires_at) > TOKEN_MARGIN
                };
                let renew = || self.clone().sign_in();
                let token = self.installation.get(is_good, renew).await;
                token
                    .map(|token| token.authorization.clone())
                    .map_err(|inner| within(operation, &inner))
            }
        }
    }

    /// One REST call with a given token: sent, noted, not judged. Refused here while GitHub asks to be left alone. It may be
    /// carried out twice, as all reads may, and tokens that simply expire.
    pub async fn rest_with(
        &self,
        operation: &Operation<'_>,
        bucket: Bucket,
        authorization: &Authorization,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Response<Bytes>, ForgeError> {
        self.rest_send(operation, bucket, authorization, method, url, body, Manner::Safe, None)
            .await?
            .map_err(|cause| unanswered(operation, authorization.token(), &cause))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    async fn rest_send(
        &self,
        operation: &Operation<'_>,
        bucket: Bucket,
        authorization: &Authorization,
        method: Method,
        url: &Url,
        body: Bytes,
        manner: Manner,
        known: Option<&HeaderValue>,
    ) -> Result<Result<Response<Bytes>, TransportError>, ForgeError> {
        if let Some(until) = self.wire.limits().refused_until(bucket, self.wire.now()) {
            let detail = format!(
                "GitHub's rate limit of this credential is used up; not asked again before {until}"
            );
            return Err(error(operation, ForgeErrorKind::RateLimited(until), &detail));
        }
        let content_type = if bucket == Bucket::Registration {
            "application/json"
        } else {
            "application/vnd.github+json"
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::CONTENT_TYPE, content_type)
            .header("x-github-api-version", API_VERSION)
            .header(header::USER_AGENT, user_agent(None))
            .header(header::AUTHORIZATION, authorization.value())
            .body(body)
            .map_err(|cause| {
                error(operation, ForgeErrorKind::Refused, &format!("no valid request: {cause}"))
            })?;
        if let Some(known) = known {
            request.headers_mut().insert(header::IF_NONE_MATCH, known.clone());
        }
        let answer = self.wire.send_counted(request, bucket, manner).await;
        if let Ok(response) = &answer {
            self.wire.note(bucket, response.headers());
        }
        Ok(answer)
    }

    /// The error of a REST answer that is no success; a rate limit is remembered, and keeps the next calls here.
    pub fn rest_refusal(
        &self,
        operation: &Operation<'_>,
        surface: Surface,
        bucket: Bucket,
        authorization: &Authorization,
        response: &Response<Bytes>,
    ) -> ForgeError {
        let refusal = self.judge(operation, surface, authorization).judge(response);
        if let ForgeErrorKind::RateLimited(until) = refusal.kind
            && !planted(Bug::RateLimitIgnored)
        {
            self.wire.limits().refuse_until(bucket, until);
        }
        refusal
    }

    /// What judges an answer to a request that bore `authorization`.
    pub fn judge<'a>(
        &'a self,
        operation: &'a Operation<'a>,
        surface: Surface,
        authorization: &'a Authorization,
    ) -> Judge<'a> {
        Judge {
            operation,
            surface,
            address: &self.address,
            now: self.wire.now(),
            skew: self.wire.skew(),
            token: authorization.token(),
        }
    }

    /// Whether an answer is a rate limit rather than a refusal.
    pub fn is_limit(&self, response: &Response<Bytes>) -> bool {
        let words = String::from_utf8_lossy(response.body());
        limited_until(
            response.status(),
            response.headers(),
            &words,
            self.wire.now(),
            self.wire.skew(),
        )
        .is_some()
    }
}
