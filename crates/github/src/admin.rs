//! The admin connection: the Actions service's address for this scope, and the token for it (protocol.md, 1.3, 1.4).

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use dayfly_core::{
    planted::{Bug, planted},
    ports::{BoxFuture, ForgeError},
};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time;
use url::Url;

use crate::{
    authorization::Authorization,
    client::Shared,
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, unreadable, within, without_bom},
};

/// Where the Actions service is and what it is asked with.
#[derive(Debug)]
pub(crate) struct AdminConnection {
    pub service: Url,
    pub authorization: Authorization,
    expires_at: Timestamp,
}

/// The token is not used in its last minute (protocol.md, 1.4).
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// A registration token just made is not visible everywhere at once: 401 and 403 are asked again after these waits
/// (protocol.md, 1.4).
const WAITS: [Duration; 2] = [Duration::from_millis(1_000), Duration::from_millis(3_000)];

#[derive(Deserialize)]
struct RegistrationToken {
    token: SecretString,
}

#[derive(Serialize)]
struct Register<'a> {
    url: &'a str,
    runner_event: &'static str,
}

#[derive(Deserialize)]
struct Registered {
    url: String,
    token: SecretString,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

impl Shared {
    /// The admin connection, renewed where it runs out.
    pub async fn admin(
        self: &Arc<Self>,
        operation: &Operation<'_>,
    ) -> Result<Arc<AdminConnection>, ForgeError> {
        let is_good = |admin: &AdminConnection| {
            planted(Bug::TokenNeverRenewed)
                || self.wire.github_now().duration_until(admin.expires_at) > MARGIN
        };
        let renew = || self.clone().connect();
        self.admin.get(is_good, renew).await.map_err(|inner| within(operation, &inner))
    }

    /// Makes the admin connection anew and keeps it.
    pub fn connect(
        self: Arc<Self>,
    ) -> BoxFuture<'static, Result<Arc<AdminConnection>, ForgeError>> {
        Box::pin(async move {
            let token = self.registration_token().await?;
            let connection = self.register(&token).await?;
            Ok(self.admin.keep(connection))
        })
    }

    /// A registration token: also the proof that the credential may manage the scope's runners.
    async fn registration_token(self: &Arc<Self>) -> Result<SecretString, ForgeError> {
        let operation = Operation::RegistrationToken { scope: &self.scope };
        let response = self.rest(&operation, Method::POST, &self.registration_token_url()).await?;
        serde_json::from_slice::<RegistrationToken>(response.body())
            .map(|answer| answer.token)
            .map_err(|_| unreadable(&operation, Surface::Rest, "it holds no registration token"))
    }

    /// Where registration tokens are given.
    pub fn registration_token_url(&self) -> Url {
        self.address.scope_url(&["actions", "runners", "registration-token"])
    }

    async fn register(&self, token: &SecretString) -> Result<AdminConnection, ForgeError> {
        let operation = Operation::AdminConnection { scope: &self.scope };
        let odd = |what| unreadable(&operation, Surface::Registration, what);
        let remote = Authorization::remote_auth(token)
            .ok_or_else(|| odd("the registration token has characters that no token has"))?;
        let body = Register { url: self.address.config_url(), runner_event: "register" };
        let body = Bytes::from(
            serde_json::to_vec(&body).map_err(|_| odd("the request could not be written"))?,
        );
        let url = self.address.rest_url(["actions", "runner-registration"]);
        let mut waits = WAITS.into_iter();
        let response = loop {
            let response = self
                .rest_with(
                    &operation,
                    Bucket::Registration,
                    &remote,
                    Method::POST,
                    &url,
                    body.clone(),
                )
                .await?;
            if response.status().is_success() {
                break response;
            }
            let too_new =
                matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                    && !self.is_limit(&response);
            match waits.next() {
                Some(wait) if too_new => time::sleep(wait).await,
                _ => {
                    let surface = Surface::Registration;
                    return Err(self.rest_refusal(
                        &operation,
                        surface,
                        Bucket::Registration,
                        &remote,
                        &response,
                    ));
                }
            }
        };
        let registered: Registered = serde_json::from_slice(without_bom(response.body()))
            .map_err(|_| odd("it holds no address and token of the Actions service"))?;
        let service =
            Url::parse(&registered.url).ok().filter(|url| self.address.trusts(url)).ok_or_else(
                || odd("its address of the Actions service is not a valid https address"),
            )?;
        let authorization = Authorization::bearer(&registered.token)
            .ok_or_else(|| odd("its token is empty or odd"))?;
        let expires_at = expiry(registered.token.expose_secret())
            .ok_or_else(|| odd("its token tells no expiry"))?;
        Ok(AdminConnection { service, authorization, expires_at })
    }
}

/// The `exp` of a JWT; its signature is the service's to check.
fn expiry(jwt: &str) -> Option<Timestamp> {
    let payload = jwt.split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let in_range = claims.exp.is_finite() && (0.0..=253_402_207_200.0).contains(&claims.exp);
    // Whole seconds are enough; the range was checked.
    in_range.then(|| Timestamp::from_second(claims.exp as i64).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries() {
        let check = |payload: &str, expected: Option<i64>| {
            let jwt = format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(payload));
            assert_eq!(expiry(&jwt).map(Timestamp::as_second), expected, "{payload}");
        };
        check(r#"{"exp":1700000000,"sub":"x"}"#, Some(1_700_000_000));
        check(r#"{"exp":1700000000.7}"#, Some(1_700_000_000));
        check(r#"{"exp":-5}"#, None);
        check(r#"{"exp":1e300}"#, None);
        check(r#"{"exp":"soon"}"#, None);
        check(r#"{}"#, None);
        for jwt in ["", ".", "a.b.c", "a..c", "a.!!.c"] {
            assert_eq!(expiry(jwt), None, "{jwt}");
        }
    }
}
