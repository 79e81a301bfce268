//! The public REST of webhooks and their deliveries (protocol.md, 5.4).

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::{Call, Origin};
use crate::delivery::{Delivery, Tried};
use crate::hook::{HOOKS_MAX, Hook, HookOwner};
use crate::ids::{CredentialId, DeliveryId, HookId, ScopeId};
use crate::moment;
use crate::refusal::{Handled, Refusal, empty, json_reply, ok, set_header};
use crate::route::Route;
use crate::sim::Sim;

/// Only deliveries of the last 3 days can be sent again.
const REDELIVERED_S_MAX: i64 = 3 * 24 * 3_600;

/// A delivery as lists show it.
#[derive(Serialize)]
struct ItemBody<'a> {
    id: DeliveryId,
    guid: Uuid,
    delivered_at: String,
    redelivery: bool,
    duration: f64,
    status: &'a str,
    status_code: u16,
    event: &'static str,
    action: Option<&'static str>,
    installation_id: Option<i64>,
    repository_id: Option<ScopeId>,
    throttled_at: Option<&'static str>,
}

/// A delivery by itself.
#[derive(Serialize)]
struct WholeBody<'a> {
    #[serde(flatten)]
    item: ItemBody<'a>,
    url: &'a str,
    request: Value,
    response: Value,
}

/// A hook to make, or what to change of one.
#[derive(Deserialize)]
struct HookBody {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    events: Option<Vec<String>>,
    #[serde(default)]
    config: Option<ConfigBody>,
}

#[derive(Deserialize)]
struct ConfigBody {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    secret: Option<String>,
    /// A text or a number.
    #[serde(default)]
    insecure_ssl: Option<Value>,
}

impl Sim {
    pub(crate) fn hooks_route(
        &mut self,
        call: &Call<'_>,
        route: &Route,
        scope: ScopeId,
    ) -> Handled {
        match route {
            Route::HooksList(_) => {
                let page = call.page();
                let all: Vec<&Hook> = self.hooks.of(scope).collect();
                let shown = all.iter().skip(page.skip()).take(page.per);
                let shown: Vec<Value> =
                    shown.map(|hook| self.hook_json(&call.origin, hook)).collect();
                let mut reply = ok(&shown);
                if let Some(link) = page.link(call, all.len()) {
                    set_header(&mut reply, "link", &link);
                }
                Ok(reply)
            }
            Route::HookCreate(_) => self.hook_create(call, scope),
            Route::HookGet(_, id) => {
                Ok(ok(&self.hook_json(&call.origin, self.hook_in(scope, *id)?)))
            }
            Route::HookUpdate(_, id) => self.hook_update(call, scope, *id),
            Route::HookDelete(_, id) => {
                let id = self.hook_in(scope, *id)?.id;
                let hook = self.hooks.remove(id);
                for delivery in hook.into_iter().flat_map(|hook| hook.deliveries) {
                    self.deliveries.by_id.remove(&delivery);
                }
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Route::HookPing(_, id) => {
                let id = self.hook_in(scope, *id)?.id;
                self.ping(call.now, id);
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Route::DeliveriesList(_, id) => self.deliveries_list(call, self.hook_in(scope, *id)?),
            Route::DeliveryGet(_, hook, id) => self.delivery_get(self.hook_in(scope, *hook)?, *id),
            Route::DeliveryAttempt(_, hook, id) => {
                let hook = self.hook_in(scope, *hook)?.id;
                self.delivery_attempt(call, hook, *id)
            }
            _ => Err(Refusal::rest_not_found()),
        }
    }

    /// An App's own webhook: its address and secret, and its deliveries. Which events it sends is chosen at the App's page alone.
    pub(crate) fn app_hook_route(
        &mut self,
        call: &Call<'_>,
        route: &Route,
        app: CredentialId,
    ) -> Handled {
        let known = self.hooks.of_app(app).map(|hook| hook.id);
        let new = Hook {
            owner: HookOwner::App(app),
            events: self.credentials.app(app).map(|app| app.events.clone()).unwrap_or_default(),
            ..Hook::new(call.now, Origin::clone(&call.origin))
        };
        // One that was never set leads nowhere, and has sent nothing.
        let hook = known.and_then(|id| self.hooks.get(id)).unwrap_or(&new);
        match route {
            Route::AppHookGet => Ok(ok(&hook.config_json())),
            Route::AppHookUpdate => {
                let mut config: ConfigBody =
                    call.json().map_err(|what| Refusal::rest(400, what))?;
                // What the body leaves out stays, the secret too: a guess.
                config.secret = config.secret.or_else(|| hook.secret.clone());
                let body =
                    HookBody { name: None, active: None, events: None, config: Some(config) };
                let Some(hook) = known.and_then(|id| self.hooks.get_mut(id)) else {
                    let mut hook = Hook { id: HookId(self.ids.hooks.next()), ..new };
                    change(&mut hook, body)?;
                    let shown = hook.config_json();
                    self.hooks.insert(hook);
                    return Ok(ok(&shown));
                };
                change(hook, body)?;
                hook.updated_at = call.now;
                Ok(ok(&hook.config_json()))
            }
            Route::AppDeliveriesList => self.deliveries_list(call, hook),
            Route::AppDeliveryGet(id) => self.delivery_get(hook, *id),
            Route::AppDeliveryAttempt(id) => {
                let hook = hook.id;
                self.delivery_attempt(call, hook, *id)
            }
            _ => Err(Refusal::rest_not_found()),
        }
    }

    /// The own webhooks of the Apps that are installed on a repository's owner.
    pub(crate) fn hooks_of_apps_on(&self, repository: ScopeId) -> impl Iterator<Item = &Hook> {
        let owner = self.scopes.owner(repository);
        let installed =
            move |(_, app): &(&Hook, CredentialId)| self.installation_on(*app, owner).is_some();
        self.hooks.of_apps().filter(installed).map(|(hook, _)| hook)
    }

    fn delivery_get(&self, hook: &Hook, id: DeliveryId) -> Handled {
        let (delivery, tried) = self.delivery_of(hook.id, id)?;
        let headers: serde_json::Map<String, Value> = self
            .delivery_headers(hook, delivery)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let payload: Value = serde_json::from_slice(&delivery.payload).unwrap_or_default();
        Ok(ok(&WholeBody {
            item: self.item(hook, delivery, tried),
            url: &hook.url,
            request: json!({ "headers": headers, "payload": payload }),
            response: json!({ "headers": {}, "payload": "" }),
        }))
    }

    fn delivery_attempt(&mut self, call: &Call<'_>, hook: HookId, id: DeliveryId) -> Handled {
        let (_, tried) = self.delivery_of(hook, id)?;
        let age = call.now.as_second() - tried.at.as_second();
        if age > REDELIVERED_S_MAX {
            return Err(Refusal::rest(422, "The delivery is too old to be redelivered."));
        }
        self.redeliver(call.now, id);
        Ok(json_reply(StatusCode::ACCEPTED, &json!({})))
    }

    fn hook_in(&self, scope: ScopeId, id: HookId) -> Result<&Hook, Refusal> {
        let of_scope = |hook: &&Hook| hook.owner == HookOwner::Scope(scope);
        let found = self.hooks.get(id).filter(of_scope);
        found.ok_or_else(Refusal::rest_not_found)
    }

    fn hook_create(&mut self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let body: HookBody = call.json().map_err(|what| Refusal::rest(400, what))?;
        if body.name.as_deref().is_some_and(|name| name != "web") {
            return Err(Refusal::rest(422, "Validation Failed: name must be \"web\""));
        }
        let mut hook = Hook {
            id: HookId(self.ids.hooks.next()),
            owner: HookOwner::Scope(scope),
            ..Hook::new(call.now, Origin::clone(&call.origin))
        };
        change(&mut hook, body)?;
        if self.hooks.of(scope).any(|other| other.url == hook.url) {
            return Err(Refusal::rest(422, "Validation Failed: Hook already exists"));
        }
        if self.hooks.of(scope).count() >= HOOKS_MAX {
            let message = "Validation Failed: the event cannot have more than 20 hooks";
            return Err(Refusal::rest(422, message));
        }
        let (id, shown) = (hook.id, self.hook_json(&call.origin, &hook));
        self.hooks.insert(hook);
        self.ping(call.now, id);
        Ok(json_reply(StatusCode::CREATED, &shown))
    }

    fn hook_update(&mut self, call: &Call<'_>, scope: ScopeId, id: HookId) -> Handled {
        let body: HookBody = call.json().map_err(|what| Refusal::rest(400, what))?;
        self.hook_in(scope, id)?;
        let hook = self.hooks.get_mut(id).ok_or_else(Refusal::rest_not_found)?;
        change(hook, body)?;
        hook.updated_at = call.now;
        Ok(ok(&self.hook_json(&call.origin, self.hook_in(scope, id)?)))
    }

    /// The newest first; a cursor names the first of the next page.
    fn deliveries_list(&self, call: &Call<'_>, hook: &Hook) -> Handled {
        let per = call.page().per;
        let from = match call.query("cursor") {
            None => i64::MAX,
            Some(cursor) => cursor
                .strip_prefix("v1_")
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| Refusal::rest(400, "Invalid cursor"))?,
        };
        let wanted = call.query("status");
        let mut tried: Vec<(&Delivery, &Tried)> = hook
            .deliveries
            .iter()
            .filter_map(|id| self.deliveries.by_id.get(id))
            .filter_map(|delivery| Some((delivery, delivery.outcome.as_ref()?)))
            .filter(|(delivery, tried)| {
                let fits = match wanted {
                    Some("success") => tried.is_success(),
                    Some("failure") => !tried.is_success(),
                    _ => true,
                };
                fits && delivery.id.0 <= from
            })
            .collect();
        tried.sort_by_key(|(delivery, _)| std::cmp::Reverse(delivery.id));
        let next = tried.get(per).map(|(delivery, _)| delivery.id);
        let shown: Vec<ItemBody<'_>> = tried
            .iter()
            .take(per)
            .map(|(delivery, tried)| self.item(hook, delivery, tried))
            .collect();
        let mut reply = ok(&shown);
        if let Some(next) = next {
            let status = wanted.map(|status| format!("&status={status}")).unwrap_or_default();
            let url = format!(
                "{}{}?per_page={per}&cursor=v1_{next}{status}",
                call.origin.base, call.path
            );
            set_header(&mut reply, "link", &format!("<{url}>; rel=\"next\""));
        }
        Ok(reply)
    }

    fn delivery_of(&self, hook: HookId, id: DeliveryId) -> Result<(&Delivery, &Tried), Refusal> {
        let delivery = self.deliveries.by_id.get(&id).filter(|delivery| delivery.hook == hook);
        let found = delivery.and_then(|delivery| Some((delivery, delivery.outcome.as_ref()?)));
        found.ok_or_else(Refusal::rest_not_found)
    }

    /// A delivery as lists show it.
    fn item<'a>(&self, hook: &Hook, delivery: &Delivery, tried: &'a Tried) -> ItemBody<'a> {
        let installation = match (hook.owner, delivery.repository) {
            (HookOwner::App(app), Some(repository)) => {
                self.installation_on(app, self.scopes.owner(repository))
            }
            _ => None,
        };
        ItemBody {
            id: delivery.id,
            guid: delivery.guid,
            delivered_at: moment::seconds(tried.at),
            redelivery: delivery.redelivery,
            duration: 0.05,
            status: &tried.status,
            status_code: tried.status_code,
            event: delivery.event,
            action: delivery.action,
            installation_id: installation,
            repository_id: delivery.repository,
            throttled_at: None,
        }
    }
}

/// Takes over what a body says.
fn change(hook: &mut Hook, body: HookBody) -> Result<(), Refusal> {
    let invalid = |what: &str| Refusal::rest(422, format!("Validation Failed: {what}"));
    if let Some(active) = body.active {
        hook.active = active;
    }
    if let Some(events) = body.events {
        hook.events = events;
    }
    if let Some(config) = body.config {
        // A secret that the body leaves out is gone, as with GitHub's own form of this call.
        hook.secret = config.secret;
        if let Some(url) = config.url {
            hook.url = url;
        }
        if let Some(content_type) = config.content_type {
            hook.content_type = content_type;
        }
        if let Some(insecure) = config.insecure_ssl {
            hook.insecure_ssl =
                insecure.as_str().map_or_else(|| insecure.to_string(), str::to_owned);
        }
    }
    let address: Option<http::Uri> = hook.url.parse().ok();
    let is_web = |uri: &http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    };
    if !address.as_ref().is_some_and(is_web) {
        return Err(invalid("config.url is not a valid URL"));
    }
    if hook.content_type != "json" {
        return Err(invalid("only content_type json is simulated"));
    }
    if !matches!(hook.insecure_ssl.as_str(), "0" | "1") {
        return Err(invalid("insecure_ssl is 0 or 1"));
    }
    // Those of an App's own are chosen elsewhere.
    if hook.events.is_empty() && matches!(hook.owner, HookOwner::Scope(_)) {
        return Err(invalid("events is empty"));
    }
    Ok(())
}
