//! The public REST of webhooks and their deliveries (protocol.md, 5.4).

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Call, Origin};
use crate::delivery::{Delivery, Tried};
use crate::hook::{HOOKS_MAX, Hook};
use crate::ids::{DeliveryId, HookId, ScopeId};
use crate::moment;
use crate::refusal::{Handled, Refusal, empty, json_reply, ok, set_header};
use crate::route::Route;
use crate::sim::Sim;

/// Only deliveries of the last 3 days can be sent again.
const REDELIVERED_S_MAX: i64 = 3 * 24 * 3_600;

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
            Route::DeliveriesList(_, id) => self.deliveries_list(call, scope, *id),
            Route::DeliveryGet(_, hook, id) => {
                let (hook, delivery, tried) = self.delivery_in(scope, *hook, *id)?;
                let mut shown = item(delivery, tried);
                let headers: serde_json::Map<String, Value> = self
                    .delivery_headers(hook, delivery)
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                let payload: Value = serde_json::from_slice(&delivery.payload).unwrap_or_default();
                shown["url"] = hook.url.clone().into();
                shown["request"] = json!({ "headers": headers, "payload": payload });
                shown["response"] = json!({ "headers": {}, "payload": "" });
                Ok(ok(&shown))
            }
            Route::DeliveryAttempt(_, hook, id) => {
                let (_, _, tried) = self.delivery_in(scope, *hook, *id)?;
                let age = call.now.as_second() - tried.at.as_second();
                if age > REDELIVERED_S_MAX {
                    return Err(Refusal::rest(422, "The delivery is too old to be redelivered."));
                }
                self.redeliver(call.now, *id);
                Ok(json_reply(StatusCode::ACCEPTED, &json!({})))
            }
            _ => Err(Refusal::rest_not_found()),
        }
    }

    fn hook_in(&self, scope: ScopeId, id: HookId) -> Result<&Hook, Refusal> {
        let found = self.hooks.get(id).filter(|hook| hook.scope == scope);
        found.ok_or_else(Refusal::rest_not_found)
    }

    fn hook_create(&mut self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let body: HookBody = call.json().map_err(|what| Refusal::rest(400, what))?;
        if body.name.as_deref().is_some_and(|name| name != "web") {
            return Err(Refusal::rest(422, "Validation Failed: name must be \"web\""));
        }
        let mut hook = Hook {
            id: HookId(self.ids.hooks.next()),
            scope,
            url: String::new(),
            content_type: "form".to_owned(),
            secret: None,
            insecure_ssl: "0".to_owned(),
            events: vec!["push".to_owned()],
            active: true,
            created_at: call.now,
            updated_at: call.now,
            deliveries: std::collections::VecDeque::new(),
            last: None,
            origin: Origin::clone(&call.origin),
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
    fn deliveries_list(&self, call: &Call<'_>, scope: ScopeId, id: HookId) -> Handled {
        let hook = self.hook_in(scope, id)?;
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
        let shown: Vec<Value> =
            tried.iter().take(per).map(|(delivery, tried)| item(delivery, tried)).collect();
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

    fn delivery_in(
        &self,
        scope: ScopeId,
        hook: HookId,
        id: DeliveryId,
    ) -> Result<(&Hook, &Delivery, &Tried), Refusal> {
        let hook = self.hook_in(scope, hook)?;
        let delivery = self.deliveries.by_id.get(&id).filter(|delivery| delivery.hook == hook.id);
        let found =
            delivery.and_then(|delivery| Some((hook, delivery, delivery.outcome.as_ref()?)));
        found.ok_or_else(Refusal::rest_not_found)
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
    if hook.events.is_empty() {
        return Err(invalid("events is empty"));
    }
    Ok(())
}

/// A delivery as lists show it.
fn item(delivery: &Delivery, tried: &Tried) -> Value {
    json!({
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": moment::seconds(tried.at),
        "redelivery": delivery.redelivery,
        "duration": 0.05,
        "status": tried.status,
        "status_code": tried.status_code,
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": null,
        "repository_id": delivery.repository,
        "throttled_at": null,
    })
}
