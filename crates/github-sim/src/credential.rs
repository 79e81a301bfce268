//! Personal access tokens and GitHub Apps: who they are, what they may do, whom they reach.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::ids::{CredentialId, ScopeId};
use crate::rate_limit::Counted;
use crate::refusal::Refusal;
use crate::scope::ScopeKind;
use crate::sim::Sim;
use crate::token::Grant;

/// Key pair of Apps created without a public key. Public, see `keys/README.md`.
pub(crate) const APP_KEY: &str = include_str!("keys/app.pem");
const APP_PUBLIC_KEY: &str = include_str!("keys/app-public.pem");

/// Permission names, each with its level: `organization_self_hosted_runners` → `write`.
pub(crate) type Permissions = BTreeMap<String, String>;

/// A credential to create, as the control API takes it.
#[derive(Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum CredentialSpec {
    /// A personal access token.
    Pat {
        /// The token's text; generated when left out.
        #[serde(default)]
        token: Option<String>,
        /// Classic scopes (`repo`, `admin:org`, `manage_runners:enterprise`) or fine-grained permissions (`administration:write`,
        /// `organization_self_hosted_runners:write`, `actions:read`); everything when left out.
        #[serde(default)]
        permissions: Option<BTreeSet<String>>,
        /// Owners (`acme`, `enterprises/big`) that it reaches; all when left out.
        #[serde(default)]
        owners: Option<BTreeSet<String>>,
    },
    /// A GitHub App.
    App {
        /// Client id; generated when left out.
        #[serde(default)]
        client_id: Option<String>,
        /// RSA public key in PEM; when left out the simulation's own key is used and its private half is in the answer.
        #[serde(default)]
        public_key: Option<String>,
        /// Permissions with their level; runners, administration and actions read-write when left out.
        #[serde(default)]
        permissions: Option<Permissions>,
        /// Owners where it is installed.
        #[serde(default)]
        installations: Vec<String>,
        /// The events that its own webhook sends, as chosen at the App's page; there is no REST for them.
        #[serde(default)]
        events: Vec<String>,
    },
}

/// What was created, once with its secret.
#[derive(Clone, Serialize)]
pub struct CreatedCredential {
    /// Names the credential in the journal.
    pub id: CredentialId,
    /// Of a personal access token: its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Of an App.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<i64>,
    /// Of an App.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Of an App without a public key of its own: the simulation's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// Of an App: installation id by owner.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub installations: BTreeMap<String, i64>,
}

impl std::fmt::Debug for CredentialSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pat { .. } => "CredentialSpec::Pat",
            Self::App { .. } => "CredentialSpec::App",
        })
    }
}

impl std::fmt::Debug for CreatedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedCredential").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(crate) struct Pat {
    permissions: Option<BTreeSet<String>>,
    owners: Option<BTreeSet<String>>,
}

pub(crate) struct App {
    pub client_id: String,
    pub permissions: Permissions,
    /// What its own webhook sends.
    pub events: Vec<String>,
    /// By installation id.
    pub installations: BTreeMap<i64, ScopeId>,
    key: DecodingKey,
}

/// All credentials.
#[derive(Default)]
pub(crate) struct Credentials {
    pats: BTreeMap<CredentialId, Pat>,
    pat_by_token: BTreeMap<String, CredentialId>,
    apps: BTreeMap<CredentialId, App>,
    app_by_issuer: BTreeMap<String, CredentialId>,
    installations: BTreeMap<i64, CredentialId>,
}

/// What a route asks of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    RunnersRead,
    RunnersWrite,
    ActionsRead,
    ActionsWrite,
    HooksRead,
    HooksWrite,
    /// What every credential may that reaches the owner.
    Metadata,
}

impl Need {
    /// The classic scope and the permission that satisfy it in such a scope.
    fn names(self, kind: ScopeKind) -> (&'static [&'static str], &'static str, &'static str) {
        let writes = matches!(self, Self::RunnersWrite | Self::ActionsWrite | Self::HooksWrite);
        let level = if writes { "write" } else { "read" };
        match (self, kind) {
            (Self::ActionsRead | Self::ActionsWrite, _) => (&["repo"], "actions", level),
            (Self::HooksRead | Self::HooksWrite, ScopeKind::Repo) => {
                (&["repo", "admin:repo_hook"], "repository_hooks", level)
            }
            (Self::HooksRead | Self::HooksWrite, _) => {
                (&["admin:org_hook"], "organization_hooks", level)
            }
            (Self::Metadata, _) => (&["repo"], "metadata", level),
            (_, ScopeKind::Repo) => (&["repo"], "administration", level),
            (_, ScopeKind::Enterprise) => {
                (&["manage_runners:enterprise", "admin:enterprise"], "enterprise_runners", level)
            }
            _ => (&["admin:org"], "organization_self_hosted_runners", level),
        }
    }
}

/// A proven caller of the public REST.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub counted: Counted,
    installation: Option<(i64, Permissions)>,
}

impl Credentials {
    pub fn app(&self, id: CredentialId) -> Option<&App> {
        self.apps.get(&id)
    }

    /// The installation of any App on an owner.
    pub fn app_of_installation(&self, installation: i64) -> Option<(CredentialId, &App)> {
        let id = *self.installations.get(&installation)?;
        Some((id, self.apps.get(&id)?))
    }
}

impl Sim {
    /// The id of an App's installation on an owner.
    pub(crate) fn installation_on(&self, app: CredentialId, owner: ScopeId) -> Option<i64> {
        let installations = &self.credentials.app(app)?.installations;
        installations.iter().find(|(_, on)| **on == owner).map(|(id, _)| *id)
    }
}

fn satisfies(level: &str, wanted: &str) -> bool {
    matches!((level, wanted), ("write" | "admin", _) | ("read", "read"))
}

impl Sim {
    /// Creates a credential.
    pub(crate) fn create_credential(
        &mut self,
        spec: CredentialSpec,
    ) -> Result<CreatedCredential, String> {
        let id = CredentialId(self.ids.credentials.next());
        let mut created = CreatedCredential {
            id,
            token: None,
            app_id: None,
            client_id: None,
            private_key: None,
            installations: BTreeMap::new(),
        };
        match spec {
            CredentialSpec::Pat { token, permissions, owners } => {
                let token =
                    token.unwrap_or_else(|| format!("ghp_{}", self.ids.credentials.text(36)));
                let owners = owners
                    .map(|owners| owners.into_iter().map(|owner| owner.to_lowercase()).collect());
                self.credentials.pats.insert(id, Pat { permissions, owners });
                self.credentials.pat_by_token.insert(token.clone(), id);
                created.token = Some(token);
            }
            CredentialSpec::App { client_id, public_key, permissions, installations, events } => {
                let pem = public_key.as_deref().unwrap_or(APP_PUBLIC_KEY);
                let key = DecodingKey::from_rsa_pem(pem.as_bytes())
                    .map_err(|error| format!("not an RSA public key in PEM: {error}"))?;
                let client_id =
                    client_id.unwrap_or_else(|| format!("Iv23{}", self.ids.credentials.text(16)));
                let permissions = permissions.unwrap_or_else(|| {
                    [
                        ("organization_self_hosted_runners", "write"),
                        ("administration", "write"),
                        ("actions", "write"),
                        ("organization_hooks", "write"),
                        ("repository_hooks", "write"),
                        ("metadata", "read"),
                    ]
                    .map(|(name, level)| (name.to_owned(), level.to_owned()))
                    .into()
                });
                let mut app = App {
                    client_id: client_id.clone(),
                    permissions,
                    events,
                    installations: BTreeMap::new(),
                    key,
                };
                for owner in installations {
                    let scope = self
                        .scopes
                        .find(&owner)
                        .ok_or_else(|| format!("no owner `{owner}`: create it first"))?;
                    let installation = 50_000_000 + self.ids.credentials.next();
                    app.installations.insert(installation, scope);
                    self.credentials.installations.insert(installation, id);
                    created.installations.insert(owner, installation);
                }
                self.credentials.app_by_issuer.insert(client_id.clone(), id);
                self.credentials.app_by_issuer.insert(app_id(id).to_string(), id);
                self.credentials.apps.insert(id, app);
                created.app_id = Some(app_id(id));
                created.client_id = Some(client_id);
                created.private_key = public_key.is_none().then(|| APP_KEY.to_owned());
            }
        }
        Ok(created)
    }

    /// Who calls the public REST with a personal access token or an installation token.
    pub(crate) fn caller(&self, call: &Call<'_>) -> Result<Caller, Refusal> {
        let token = call
            .authorization("bearer")
            .or_else(|| call.authorization("token"))
            .ok_or_else(|| Refusal::rest(401, "Requires authentication"))?;
        if let Some(credential) = self.credentials.pat_by_token.get(token) {
            return Ok(Caller {
                counted: Counted { credential: *credential, part: 0 },
                installation: None,
            });
        }
        match self.tokens.get(token, call.now) {
            Some(Grant::Installation { credential, installation, permissions }) => Ok(Caller {
                counted: Counted { credential: *credential, part: *installation },
                installation: Some((*installation, permissions.clone())),
            }),
            _ => Err(Refusal::rest(401, "Bad credentials")),
        }
    }

    /// Whether the caller may do this in the scope: 404 when it cannot see the scope, 403 when it lacks the permission.
    pub(crate) fn permit(
        &self,
        caller: &Caller,
        scope: ScopeId,
        need: Need,
    ) -> Result<(), Refusal> {
        let kind = self.scopes.get(scope).map_or(ScopeKind::Org, |scope| scope.kind);
        let owner = self.scopes.owner(scope);
        let (classic, permission, level) = need.names(kind);
        let accepted = format!("{permission}={level}");
        if let Some((installation, permissions)) = &caller.installation {
            let installed = self
                .credentials
                .app_of_installation(*installation)
                .and_then(|(_, app)| app.installations.get(installation))
                .is_some_and(|on| *on == owner);
            if !installed {
                return Err(Refusal::rest_not_found());
            }
            if need == Need::Metadata {
                return Ok(());
            }
            if permissions.get(permission).is_some_and(|held| satisfies(held, level)) {
                return Ok(());
            }
            return Err(forbidden(
                "Resource not accessible by integration",
                vec![("x-accepted-github-permissions", accepted)],
            ));
        }
        let Some(pat) = self.credentials.pats.get(&caller.counted.credential) else {
            return Err(Refusal::rest(401, "Bad credentials"));
        };
        let reached = pat.owners.as_ref().is_none_or(|owners| {
            self.scopes.get(owner).is_some_and(|owner| owners.contains(&owner.path.to_lowercase()))
        });
        if !reached {
            return Err(Refusal::rest_not_found());
        }
        if need == Need::Metadata {
            return Ok(());
        }
        let Some(held) = &pat.permissions else { return Ok(()) };
        let allowed = classic.iter().any(|scope| held.contains(*scope))
            || held.iter().any(|held| {
                held.split_once(':')
                    .is_some_and(|(name, has)| name == permission && satisfies(has, level))
            });
        if allowed {
            return Ok(());
        }
        // The live texts differ by endpoint and token type; this one is of fine-grained tokens. The headers are GitHub's.
        let scopes = held.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let headers = vec![
            ("x-accepted-github-permissions", accepted),
            ("x-accepted-oauth-scopes", classic.join(", ")),
            ("x-oauth-scopes", scopes),
        ];
        Err(forbidden("Resource not accessible by personal access token", headers))
    }

    /// The App that signed the request's JWT.
    pub(crate) fn app_caller(&self, call: &Call<'_>) -> Result<CredentialId, Refusal> {
        let jwt = call
            .authorization("bearer")
            .ok_or_else(|| Refusal::rest(401, "A JSON web token could not be decoded"))?;
        let undecodable = |_| Refusal::rest(401, "A JSON web token could not be decoded");
        // The issuer must be read first, to know whose key has to fit.
        let claims: AppClaims =
            jsonwebtoken::dangerous::insecure_decode(jwt).map_err(undecodable)?.claims;
        let issuer = match &claims.iss {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let id = self.credentials.app_by_issuer.get(&issuer).copied();
        let app = id.and_then(|id| self.credentials.apps.get(&id)).ok_or_else(|| {
            Refusal::rest(
                401,
                "'Issuer' claim ('iss') must be an Integer or a client ID of a GitHub App",
            )
        })?;
        jsonwebtoken::decode::<AppClaims>(jwt, &app.key, &signature_only()).map_err(undecodable)?;
        let now = call.now.as_second();
        if claims.iat > now {
            return Err(Refusal::rest(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            ));
        }
        if claims.exp <= now {
            return Err(Refusal::rest(
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            ));
        }
        if claims.exp > now + 600 {
            return Err(Refusal::rest(
                401,
                "'Expiration time' claim ('exp') is too far in the future",
            ));
        }
        id.ok_or_else(|| Refusal::rest(401, "Bad credentials"))
    }
}

/// The number that stands for an App beside its client id.
pub(crate) fn app_id(id: CredentialId) -> i64 {
    200_000 + id.0
}

/// RS256 and nothing else: times are judged by the simulation's own clock.
pub(crate) fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

#[derive(Debug, Deserialize)]
struct AppClaims {
    iss: serde_json::Value,
    iat: i64,
    exp: i64,
}

fn forbidden(message: &str, headers: Vec<(&'static str, String)>) -> Refusal {
    Refusal::Rest { status: StatusCode::FORBIDDEN, message: message.to_owned(), headers }
}
