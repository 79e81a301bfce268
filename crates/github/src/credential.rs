//! What the user signs in with, checked before the first request.

use std::fmt;

use dayfly_core::model::ScopeKind;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::{address::Address, authorization::Authorization};

/// What the user signs in with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A personal access token, classic or fine-grained.
    Token(SecretString),
    /// A GitHub App.
    App {
        /// The App's client id (`Iv…`); its numeric id works as well.
        client_id: String,
        /// The App's private key, as GitHub hands it out: PEM.
        private_key: SecretString,
        /// The installation; looked up by the scope where it is left out.
        installation_id: Option<u64>,
    },
}

/// A credential that can't work, whatever GitHub says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// The token is empty or holds a space, a line end or another character that no token has.
    #[error(
        "the token is empty or has characters that no token has: give it without spaces and line ends"
    )]
    Token,
    /// The private key can't be read.
    #[error("the App's private key is not an RSA key in PEM as GitHub hands it out: {detail}")]
    PrivateKey {
        /// What is wrong, without a byte of the key.
        detail: String,
    },
    /// The App's client id is empty.
    #[error("the App's client id is empty: copy it from the App's settings")]
    ClientId,
    /// An App for an enterprise.
    #[error(
        "a GitHub App cannot manage the runners of enterprise {enterprise}: GitHub gives Apps no such permission; \
         use a classic token with the scope manage_runners:enterprise"
    )]
    AppForEnterprise {
        /// The enterprise.
        enterprise: String,
    },
}

/// A credential, checked and ready to use.
#[derive(Debug)]
pub(crate) enum Signer {
    Token(Authorization),
    App(App),
}

/// An App's identity.
pub(crate) struct App {
    client_id: String,
    key: EncodingKey,
    pub installation_id: Option<u64>,
}

impl Signer {
    /// Checks a credential against the scope that it is for.
    pub fn new(credential: &Credential, address: &Address) -> Result<Self, InvalidCredential> {
        match credential {
            Credential::Token(token) => {
                Authorization::bearer(token).map(Self::Token).ok_or(InvalidCredential::Token)
            }
            Credential::App { client_id, private_key, installation_id } => {
                if let ScopeKind::Enterprise(enterprise) = address.kind() {
                    return Err(InvalidCredential::AppForEnterprise {
                        enterprise: enterprise.clone(),
                    });
                }
                if client_id.trim().is_empty() {
                    return Err(InvalidCredential::ClientId);
                }
                let key = EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes())
                    .map_err(|error| InvalidCredential::PrivateKey { detail: error.to_string() })?;
                Ok(Self::App(App {
                    client_id: client_id.trim().to_owned(),
                    key,
                    installation_id: *installation_id,
                }))
            }
        }
    }
}

/// How far back a JWT is dated: GitHub refuses one that seems to come from the future (protocol.md, 1.2).
const BACKDATE_S: i64 = 60;

/// How long a JWT lives: GitHub refuses more than ten minutes.
const LIFE_S: i64 = 9 * 60;

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

impl App {
    /// Signs a JWT at `now`, by GitHub's clock. `None` where the key does not sign (an RSA key too short, say).
    pub fn sign(&self, now: Timestamp) -> Option<Authorization> {
        let iat = now.as_second() - BACKDATE_S;
        let claims = Claims { iat, exp: iat + LIFE_S, iss: &self.client_id };
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).ok()?;
        Authorization::bearer(&jwt.into())
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
