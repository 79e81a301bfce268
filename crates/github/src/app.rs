//! Signing in as a GitHub App: JWT, installation, installation token (protocol.md, 1.2).

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::ports::{BoxFuture, ForgeError, ForgeErrorKind};
use http::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{
    authorization::Authorization,
    client::Shared,
    credential::{App, Signer},
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, error, unreadable},
};

/// What an App's installation works with for an hour.
#[derive(Debug)]
pub(crate) struct InstallationToken {
    pub authorization: Authorization,
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct AccessToken {
    token: SecretString,
    expires_at: Timestamp,
}

/// A correction of the clock smaller than this does not explain a refused JWT.
const CORRECTION_MIN: SignedDuration = SignedDuration::from_secs(10);

impl Shared {
    /// Gets an installation token and keeps it.
    pub fn sign_in(
        self: Arc<Self>,
    ) -> BoxFuture<'static, Result<Arc<InstallationToken>, ForgeError>> {
        Box::pin(async move {
            let operation = Operation::SignIn { scope: &self.scope };
            let Signer::App(app) = &self.signer else {
                return Err(error(&operation, ForgeErrorKind::Refused, "the credential is no App"));
            };
            let installation = match app.installation_id {
                Some(id) => id,
                None => self.find_installation(app).await?,
            };
            let installation = installation.to_string();
            let url =
                self.address.rest_url(["app", "installations", &installation, "access_tokens"]);
            let response = self.as_app(app, &operation, Method::POST, &url, Bytes::new()).await?;
            let token: AccessToken = serde_json::from_slice(response.body()).map_err(|_| {
                unreadable(&operation, Surface::App, "it holds no token with an expiry")
            })?;
            let authorization = Authorization::bearer(&token.token).ok_or_else(|| {
                unreadable(&operation, Surface::App, "its token has characters that no token has")
            })?;
            Ok(self
                .installation
                .keep(InstallationToken { authorization, expires_at: token.expires_at }))
        })
    }

    async fn find_installation(&self, app: &App) -> Result<u64, ForgeError> {
        let operation = Operation::FindInstallation { scope: &self.scope };
        let url = self.address.scope_url(&["installation"]);
        let response = self.as_app(app, &operation, Method::GET, &url, Bytes::new()).await;
        let response = response.map_err(|mut refusal| {
            if refusal.kind == ForgeErrorKind::NotFound {
                let scope = &self.scope;
                refusal.detail = format!(
                    "the App is not installed on {scope}, or {scope} does not exist; install the App there. {}",
                    refusal.detail
                );
            }
            refusal
        })?;
        serde_json::from_slice::<Installation>(response.body())
            .map(|installation| installation.id)
            .map_err(|_| unreadable(&operation, Surface::App, "it holds no installation id"))
    }

    /// One call as the App that this client signs in as.
    pub(crate) async fn as_own_app(
        &self,
        operation: &Operation<'_>,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Response<Bytes>, ForgeError> {
        match &self.signer {
            Signer::App(app) => self.as_app(app, operation, method, url, body).await,
            Signer::Token(_) => {
                Err(error(operation, ForgeErrorKind::Refused, "the credential is no App"))
            }
        }
    }

    /// One call as the App itself. A JWT refused because our clock is wrong is signed anew once, by the clock that the
    /// refusal told (F28).
    async fn as_app(
        &self,
        app: &App,
        operation: &Operation<'_>,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Response<Bytes>, ForgeError> {
        let mut corrected = false;
        loop {
            let signed_at = self.wire.github_now();
            let Some(jwt) = app.sign(signed_at) else {
                let detail = "the App's private key does not sign: give an RSA key of at least 2048 bits from the App's settings";
                return Err(error(operation, ForgeErrorKind::Refused, detail));
            };
            let skew = self.wire.skew();
            let response = self
                .rest_with(operation, Bucket::App, &jwt, method.clone(), url, body.clone())
                .await?;
            if response.status().is_success() {
                return Ok(response);
            }
            let correction = self.wire.skew().checked_sub(skew).unwrap_or_default().abs();
            if response.status() == StatusCode::UNAUTHORIZED
                && correction >= CORRECTION_MIN
                && !corrected
            {
                corrected = true;
                continue;
            }
            return Err(self.rest_refusal(operation, Surface::App, Bucket::App, &jwt, &response));
        }
    }
}
