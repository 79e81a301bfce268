//! `check`: tries the credential, its permission, the admin connection and the group for real, one after the other.

use std::sync::Arc;

use dayfly_core::ports::{Finding, ForgeError, ForgeErrorKind};
use http::{Method, StatusCode};

use crate::{
    authorization::Authorization,
    client::Shared,
    credential::Signer,
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, error, needed},
};

/// The exit code of `check` where the credential, its permission or its scope is at fault (DESIGN.md).
const EXIT_CODE: u8 = 4;

impl Shared {
    /// Tries everything in order, up to the first failure: what follows would fail for the same reason.
    pub async fn check(self: &Arc<Self>, group: &str) -> Vec<Finding> {
        let scope = &self.scope;
        let mut findings = Vec::new();
        let tried = |what: &str, result: Result<String, ForgeError>| Finding {
            what: what.to_owned(),
            result: result.map_err(|refusal| refusal.to_string()),
            exit_code: EXIT_CODE,
        };
        findings.push(tried(&format!("credential for {scope}"), self.try_credential().await));
        if findings.iter().all(|finding| finding.result.is_ok()) {
            findings.push(tried(
                &format!("permission to manage runners of {scope}"),
                self.try_permission().await,
            ));
        }
        if findings.iter().all(|finding| finding.result.is_ok()) {
            let connected = self.clone().connect().await;
            let connected = connected
                .map(|admin| format!("at {}", admin.service.host_str().unwrap_or("its host")));
            findings.push(tried("the Actions service", connected));
        }
        if findings.iter().all(|finding| finding.result.is_ok()) {
            let found = self.find_group(group).await.map(|id| format!("id {id}"));
            findings.push(tried(&format!("runner group {group} of {scope}"), found));
        }
        findings
    }

    async fn try_credential(self: &Arc<Self>) -> Result<String, ForgeError> {
        match &self.signer {
            Signer::App(_) => {
                let token = self.clone().sign_in().await?;
                Ok(format!("the App is installed; its token lives until {}", token.expires_at))
            }
            Signer::Token(authorization) => self.try_token(authorization).await,
        }
    }

    /// Asks for the rate limit, which costs nothing and needs no permission.
    async fn try_token(&self, authorization: &Authorization) -> Result<String, ForgeError> {
        let operation = Operation::TryCredential;
        let url = self.address.rest_url(["rate_limit"]);
        let response = self
            .rest_with(
                &operation,
                Bucket::Core,
                authorization,
                Method::GET,
                &url,
                bytes::Bytes::new(),
            )
            .await?;
        match response.status() {
            status if status.is_success() => Ok("GitHub accepts the token".to_owned()),
            // A GitHub Enterprise Server whose limits are switched off says so with 404, to valid tokens only.
            StatusCode::NOT_FOUND => {
                Ok("GitHub accepts the token; it sets no rate limit".to_owned())
            }
            _ => Err(self.rest_refusal(
                &operation,
                Surface::Rest,
                Bucket::Core,
                authorization,
                &response,
            )),
        }
    }

    /// A registration token is the proof. Where it is refused with 404, whether the scope can be seen at all tells an
    /// unknown owner from a missing permission.
    async fn try_permission(self: &Arc<Self>) -> Result<String, ForgeError> {
        let operation = Operation::RegistrationToken { scope: &self.scope };
        let (authorization, response) =
            self.rest_answer(&operation, Method::POST, &self.registration_token_url()).await?;
        if response.status().is_success() {
            return Ok("GitHub gives registration tokens".to_owned());
        }
        if response.status() == StatusCode::NOT_FOUND {
            let look = Operation::FindScope { scope: &self.scope };
            if self.rest(&look, Method::GET, &self.address.scope_url(&[])).await.is_ok() {
                let permission = needed(self.address.kind());
                let detail = format!(
                    "GitHub answered 404 Not Found, though {} exists: the credential lacks {}",
                    self.scope, permission.0
                );
                return Err(error(&operation, ForgeErrorKind::NotAllowed(permission), &detail));
            }
        }
        Err(self.rest_refusal(&operation, Surface::Rest, Bucket::Core, &authorization, &response))
    }
}
