//! Bearer tokens that the simulation hands out: what each is good for, and until when.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

use crate::credential::Permissions;
use crate::ids::{CredentialId, RunnerId, ScopeId, SetId};
use crate::moment;
use crate::sim::Sim;

/// What a token is good for. A token of one kind is refused where another is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// An App's installation token.
    Installation { credential: CredentialId, installation: i64, permissions: Permissions },
    /// May be traded for an admin token of the scope.
    Registration { scope: ScopeId, credential: CredentialId },
    /// For `config.sh remove` only.
    Removal,
    /// The Actions service of a scope.
    Admin { scope: ScopeId, credential: CredentialId },
    /// The message queue of a session.
    Queue { set: SetId, session: uuid::Uuid, credential: CredentialId },
    /// A runner at the broker.
    Runner { runner: RunnerId },
}

/// The tokens in force.
#[derive(Default)]
pub(crate) struct Tokens {
    by_text: BTreeMap<String, (Grant, Timestamp)>,
    by_expiry: BTreeSet<(Timestamp, String)>,
}

impl Tokens {
    /// What the token grants at `now`; `None` when unknown or expired.
    pub fn get(&self, text: &str, now: Timestamp) -> Option<&Grant> {
        self.by_text.get(text).filter(|(_, expires)| *expires > now).map(|(grant, _)| grant)
    }

    fn insert(&mut self, text: String, grant: Grant, expires: Timestamp, now: Timestamp) {
        // An expired token and an unknown one get the same answer, so the expired need not be kept.
        while let Some((at, old)) = self.by_expiry.first().cloned() {
            if at > now {
                break;
            }
            self.by_expiry.pop_first();
            self.by_text.remove(&old);
        }
        self.by_expiry.insert((expires, text.clone()));
        self.by_text.insert(text, (grant, expires));
    }

    /// Ends every token that `which` names (an option that shortens lives, a test that wants a 401).
    pub fn revoke(&mut self, which: impl Fn(&Grant) -> bool) -> usize {
        let before = self.by_text.len();
        self.by_text.retain(|_, (grant, _)| !which(grant));
        self.by_expiry.retain(|(_, text)| self.by_text.contains_key(text));
        before - self.by_text.len()
    }
}

impl Sim {
    /// A token that reads like GitHub's: a prefix and random characters.
    pub(crate) fn opaque_token(
        &mut self,
        now: Timestamp,
        prefix: &str,
        grant: Grant,
        ttl_ms: u64,
    ) -> (String, Timestamp) {
        let text = format!("{prefix}{}", self.ids.tokens.text(36));
        let expires = moment::after(now, ttl_ms);
        self.tokens.insert(text.clone(), grant, expires, now);
        (text, expires)
    }

    /// A token with the three parts of a JWT and a numeric `exp`. Clients read the claims and cannot check the signature, so the third
    /// part is random: it is what makes the token unguessable.
    pub(crate) fn jwt(
        &mut self,
        now: Timestamp,
        grant: Grant,
        ttl_ms: u64,
        audience: &str,
    ) -> String {
        let expires = moment::after(now, ttl_ms);
        let claims = json!({ "aud": audience, "iat": now.as_second(), "nbf": now.as_second(), "exp": expires.as_second(), "iss": "dayfly-github-sim" });
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let text = format!(
            "{}.{}.{}",
            encode(r#"{"alg":"RS256","typ":"JWT"}"#),
            encode(&claims.to_string()),
            encode(&self.ids.tokens.text(43))
        );
        self.tokens.insert(text.clone(), grant, expires, now);
        text
    }
}
