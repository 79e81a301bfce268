//! The public REST: common rules (User-Agent, identity, rate limits, ETags) and the routes about Apps and limits.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::call::{Call, Origin};
use crate::credential::{Caller, Need, Permissions, app_id};
use crate::ids::{CredentialId, ScopeId};
use crate::moment;
use crate::rate_limit::Resource;
use crate::refusal::{Handled, Refusal, Reply, empty, json_reply, ok, set_header};
use crate::route::{Route, ScopePath};
use crate::scope::ScopeKind;
use crate::sim::Sim;
use crate::token::Grant;

/// GitHub refuses callers without a User-Agent.
pub(crate) fn user_agent(call: &Call<'_>) -> Result<(), Refusal> {
    if call.header("user-agent").is_some_and(|agent| !agent.is_empty()) {
        return Ok(());
    }
    Err(Refusal::rest(
        403,
        "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
    ))
}

impl Sim {
    pub(crate) fn rest(&mut self, call: &Call<'_>, route: &Route, entry: u64) -> Reply {
        self.rest_checked(call, route, entry).unwrap_or_else(Refusal::into_reply)
    }

    fn rest_checked(&mut self, call: &Call<'_>, route: &Route, entry: u64) -> Handled {
        user_agent(call)?;
        if matches!(
            route,
            Route::App
                | Route::AppInstallations
                | Route::AppInstallation(_)
                | Route::AppToken(_)
                | Route::AppHookGet
                | Route::AppHookUpdate
                | Route::AppDeliveriesList
                | Route::AppDeliveryGet(_)
                | Route::AppDeliveryAttempt(_)
                | Route::Installation(..)
        ) {
            let app = self.app_caller(call)?;
            self.proven(entry, app);
            return self.app_route(call, route, app);
        }
        let caller = self.caller(call)?;
        let who = caller.counted;
        self.proven(entry, who.credential);
        if *route == Route::RateLimit {
            return Ok(ok(&self.rates.overview(who, call.now, &self.options)));
        }
        if !matches!(*call.method, Method::GET | Method::HEAD) {
            self.rates.take_write(who, call.now, &self.options)?;
        }
        let mut standing = self.rates.take(who, Resource::Core, call.now, &self.options)?;
        let mut reply = self.scoped_route(call, route, &caller).unwrap_or_else(Refusal::into_reply);
        if *call.method == Method::GET && reply.status() == StatusCode::OK {
            let etag = etag(call.header("authorization").unwrap_or_default(), reply.body());
            if call
                .header("if-none-match")
                .is_some_and(|known| known.split(',').any(|known| known.trim() == etag))
            {
                reply = empty(StatusCode::NOT_MODIFIED);
                self.rates.give_back(who, &mut standing);
            }
            set_header(&mut reply, "etag", &etag);
            set_header(&mut reply, "cache-control", "private, max-age=60, s-maxage=60");
        }
        standing.write(&mut reply);
        set_header(&mut reply, "x-github-media-type", "github.v3; format=json");
        Ok(reply)
    }

    fn scoped_route(&mut self, call: &Call<'_>, route: &Route, caller: &Caller) -> Handled {
        use Need::{
            ActionsRead, ActionsWrite, HooksRead, HooksWrite, Metadata, RunnersRead, RunnersWrite,
        };
        if *route == Route::Meta {
            return Ok(self.meta());
        }
        let (path, need) = match route {
            Route::RunnersList(path)
            | Route::RunnerGet(path, _)
            | Route::ProgramList(path)
            | Route::ProgramDeprecation(path, _)
            | Route::RestGroupsList(path)
            | Route::RestGroupGet(path, _)
            | Route::RestGroupRunners(path, _) => (path, RunnersRead),
            Route::RegistrationToken(path)
            | Route::RemoveToken(path)
            | Route::RunnerDelete(path, _)
            | Route::RunnerJit(path) => (path, RunnersWrite),
            Route::RunsList(path)
            | Route::RunGet(path, _)
            | Route::RunJobs(path, _)
            | Route::RunAttemptJobs(path, ..)
            | Route::JobGet(path, _) => (path, ActionsRead),
            Route::RunCancel(path, _)
            | Route::RunForceCancel(path, _)
            | Route::RunRerun(path, _)
            | Route::RunRerunFailed(path, _)
            | Route::JobRerun(path, _) => (path, ActionsWrite),
            Route::ReposList(path) => (path, Metadata),
            Route::HooksList(path)
            | Route::HookGet(path, _)
            | Route::DeliveriesList(path, _)
            | Route::DeliveryGet(path, ..) => (path, HooksRead),
            Route::HookCreate(path)
            | Route::HookUpdate(path, _)
            | Route::HookDelete(path, _)
            | Route::HookPing(path, _)
            | Route::DeliveryAttempt(path, ..) => (path, HooksWrite),
            _ => return Err(Refusal::rest_not_found()),
        };
        let scope = self.scope_at(path)?;
        if matches!(path, ScopePath::Owner(_))
            && self.scopes.get(scope).is_none_or(|scope| scope.kind != ScopeKind::Org)
        {
            return Err(Refusal::rest_not_found());
        }
        self.permit(caller, scope, need)?;
        match route {
            Route::RegistrationToken(_) => {
                let grant = Grant::Registration { scope, credential: caller.counted.credential };
                Ok(self.scope_token(call.now, grant))
            }
            Route::RemoveToken(_) => Ok(self.scope_token(call.now, Grant::Removal)),
            Route::RestGroupsList(_) => self.rest_groups(call, scope),
            Route::RestGroupGet(_, group) => self.rest_group_get(call, scope, *group),
            Route::RestGroupRunners(_, group) => self.rest_runners(call, scope, Some(*group)),
            Route::RunnersList(_) => self.rest_runners(call, scope, None),
            Route::ProgramList(_) => self.program_list(call),
            Route::ProgramDeprecation(_, version) => self.program_deprecation(version),
            Route::RunnerGet(_, runner) => self.rest_runner_get(scope, *runner),
            Route::RunnerDelete(_, runner) => self.rest_runner_delete(call.now, scope, *runner),
            Route::RunnerJit(_) => self.rest_runner_jit(call, scope),
            Route::ReposList(_) => self.repos_list(call, scope),
            Route::HooksList(_)
            | Route::HookCreate(_)
            | Route::HookGet(..)
            | Route::HookUpdate(..)
            | Route::HookDelete(..)
            | Route::HookPing(..)
            | Route::DeliveriesList(..)
            | Route::DeliveryGet(..)
            | Route::DeliveryAttempt(..) => self.hooks_route(call, route, scope),
            _ => self.runs_route(call, route, scope),
        }
    }

    fn scope_token(&mut self, now: Timestamp, grant: Grant) -> Reply {
        let (token, expires) =
            self.opaque_token(now, "A", grant, self.options.registration_token_ttl_ms);
        json_reply(
            StatusCode::CREATED,
            &json!({ "token": token, "expires_at": moment::seconds(expires) }),
        )
    }

    fn app_route(&mut self, call: &Call<'_>, route: &Route, app: CredentialId) -> Handled {
        match route {
            Route::App => {
                let held = self.credentials.app(app).ok_or_else(Refusal::rest_not_found)?;
                Ok(ok(
                    &json!({ "id": app_id(app), "client_id": held.client_id, "slug": "simulated-app", "name": "Simulated App", "permissions": held.permissions, "events": held.events }),
                ))
            }
            Route::AppInstallations => {
                let ids: Vec<i64> = self
                    .credentials
                    .app(app)
                    .map(|app| app.installations.keys().copied().collect())
                    .unwrap_or_default();
                let page = call.page();
                let shown: Vec<Value> = ids
                    .iter()
                    .skip(page.skip())
                    .take(page.per)
                    .filter_map(|id| self.installation_json(call, app, *id))
                    .collect();
                let mut reply = ok(&shown);
                if let Some(link) = page.link(call, ids.len()) {
                    set_header(&mut reply, "link", &link);
                }
                Ok(reply)
            }
            Route::AppInstallation(id) => self
                .installation_json(call, app, *id)
                .map(|found| ok(&found))
                .ok_or_else(Refusal::rest_not_found),
            Route::Installation(path, user) => {
                let owner = self.scopes.owner(self.scope_at(path)?);
                let kind = self.scopes.get(owner).map(|owner| owner.kind);
                let right = match path {
                    ScopePath::Owner(_) => {
                        kind == Some(if *user { ScopeKind::User } else { ScopeKind::Org })
                    }
                    _ => true,
                };
                let id = self.installation_on(app, owner);
                id.filter(|_| right)
                    .and_then(|id| self.installation_json(call, app, id))
                    .map(|found| ok(&found))
                    .ok_or_else(Refusal::rest_not_found)
            }
            Route::AppToken(id) => self.installation_token(call, app, *id),
            Route::AppHookGet
            | Route::AppHookUpdate
            | Route::AppDeliveriesList
            | Route::AppDeliveryGet(_)
            | Route::AppDeliveryAttempt(_) => self.app_hook_route(call, route, app),
            _ => Err(Refusal::rest_not_found()),
        }
    }

    fn installation_token(
        &mut self,
        call: &Call<'_>,
        app: CredentialId,
        installation: i64,
    ) -> Handled {
        #[derive(Default, serde::Deserialize)]
        struct Narrower {
            #[serde(default)]
            permissions: Option<Permissions>,
        }
        let held =
            self.credentials.app(app).filter(|app| app.installations.contains_key(&installation));
        let held = held.ok_or_else(Refusal::rest_not_found)?;
        let mut permissions = held.permissions.clone();
        if !call.body.is_empty() {
            let narrower: Narrower = call.json().map_err(|what| Refusal::rest(400, what))?;
            if let Some(asked) = narrower.permissions {
                let granted = |name: &String, level: &String| match permissions.get(name) {
                    Some(held) => held == level || held == "write",
                    None => false,
                };
                if !asked.iter().all(|(name, level)| granted(name, level)) {
                    return Err(Refusal::rest(
                        422,
                        "The permissions requested are not granted to this installation.",
                    ));
                }
                permissions = asked;
            }
        }
        let grant =
            Grant::Installation { credential: app, installation, permissions: permissions.clone() };
        let (token, expires) =
            self.opaque_token(call.now, "ghs_", grant, self.options.installation_token_ttl_ms);
        let body = json!({
            "token": token,
            "expires_at": moment::seconds(expires),
            "permissions": permissions,
            "repository_selection": "all",
        });
        Ok(json_reply(StatusCode::CREATED, &body))
    }

    fn installation_json(&self, call: &Call<'_>, app: CredentialId, id: i64) -> Option<Value> {
        let held = self.credentials.app(app)?;
        let owner = *held.installations.get(&id)?;
        let scope = self.scopes.get(owner)?;
        let created = "2024-01-01T00:00:00.000Z";
        Some(json!({
            "id": id,
            "account": self.user_json(&call.origin, owner),
            "repository_selection": "all",
            "access_tokens_url": format!("{}/app/installations/{id}/access_tokens", call.origin.api),
            "repositories_url": format!("{}/installation/repositories", call.origin.api),
            "html_url": format!("{}/organizations/{}/settings/installations/{id}", call.origin.base, scope.path),
            "app_id": app_id(app),
            "client_id": held.client_id,
            "app_slug": "simulated-app",
            "target_id": owner,
            "target_type": if scope.kind == ScopeKind::User { "User" } else { "Organization" },
            "permissions": held.permissions,
            "events": ["workflow_job"],
            "created_at": created,
            "updated_at": created,
            "single_file_name": null,
            "has_multiple_single_files": false,
            "single_file_paths": [],
            "suspended_by": null,
            "suspended_at": null,
        }))
    }

    /// An owner, as GitHub shows accounts.
    pub(crate) fn user_json(&self, origin: &Origin, owner: ScopeId) -> Value {
        let scope = self.scopes.get(owner);
        let login = scope.map_or("", |scope| scope.path.as_str());
        let kind = scope.map_or(ScopeKind::User, |scope| scope.kind);
        let url = format!("{}/users/{login}", origin.api);
        json!({
            "login": login,
            "id": owner,
            "node_id": format!("U_{owner}"),
            "avatar_url": format!("{}/avatars/{login}", origin.base),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("{}/{login}", origin.base),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": if kind == ScopeKind::User { "User" } else { "Organization" },
            "site_admin": false,
        })
    }
}

/// An ETag that depends on the body and on the token, as GitHub's does: a new token's first question is answered whole.
fn etag(authorization: &str, body: &[u8]) -> String {
    // Fixed keys, so the same seed and calls give the same bytes.
    let mut hasher = DefaultHasher::new();
    authorization.hash(&mut hasher);
    body.hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}
