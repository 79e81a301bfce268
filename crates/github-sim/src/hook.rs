//! Webhooks of repositories and organisations: where they lead, and what was sent there. The state alone; the routes are in
//! [`crate::rest_hooks`].

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::call::Origin;
use crate::ids::{DeliveryId, HookId, ScopeId};
use crate::moment;
use crate::scope::ScopeKind;
use crate::sim::Sim;

/// Hooks that one scope has at most, per event (protocol.md, 5.4); the simulation knows of one event that matters.
pub(crate) const HOOKS_MAX: usize = 20;

/// How GitHub shows a secret.
const HIDDEN: &str = "********";

/// A webhook.
#[derive(Debug)]
pub(crate) struct Hook {
    pub id: HookId,
    pub scope: ScopeId,
    pub url: String,
    pub content_type: String,
    pub secret: Option<String>,
    pub insecure_ssl: String,
    pub events: Vec<String>,
    pub active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Its newest deliveries that were tried, the oldest first.
    pub deliveries: VecDeque<DeliveryId>,
    /// How the newest one went.
    pub last: Option<(u16, String)>,
    /// What links in its payloads begin with: as its maker addressed this GitHub.
    pub origin: Origin,
}

/// All hooks.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    by_id: BTreeMap<HookId, Hook>,
}

impl Hooks {
    pub fn insert(&mut self, hook: Hook) {
        self.by_id.insert(hook.id, hook);
    }

    pub fn remove(&mut self, id: HookId) -> Option<Hook> {
        self.by_id.remove(&id)
    }

    pub fn get(&self, id: HookId) -> Option<&Hook> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: HookId) -> Option<&mut Hook> {
        self.by_id.get_mut(&id)
    }

    /// The hooks of a scope, the oldest first.
    pub fn of(&self, scope: ScopeId) -> impl Iterator<Item = &Hook> {
        self.by_id.values().filter(move |hook| hook.scope == scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.by_id.values()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

impl Sim {
    /// A hook as the REST shows it.
    pub(crate) fn hook_json(&self, origin: &Origin, hook: &Hook) -> Value {
        let scope = self.scopes.get(hook.scope);
        let path = scope.map_or("", |scope| scope.path.as_str());
        let in_repository = scope.is_some_and(|scope| scope.kind == ScopeKind::Repo);
        let of = if in_repository { "repos" } else { "orgs" };
        let url = format!("{}/{of}/{path}/hooks/{}", origin.api, hook.id);
        let mut config = json!({
            "url": hook.url,
            "content_type": hook.content_type,
            "insecure_ssl": hook.insecure_ssl,
        });
        if hook.secret.is_some() {
            config["secret"] = HIDDEN.into();
        }
        let mut shown = json!({
            "type": if in_repository { "Repository" } else { "Organization" },
            "id": hook.id,
            "name": "web",
            "active": hook.active,
            "events": hook.events,
            "config": config,
            "updated_at": moment::seconds(hook.updated_at),
            "created_at": moment::seconds(hook.created_at),
            "url": url,
            "ping_url": format!("{url}/pings"),
            "deliveries_url": format!("{url}/deliveries"),
        });
        if in_repository {
            shown["test_url"] = format!("{url}/tests").into();
            shown["last_response"] = match &hook.last {
                Some((code, status)) => {
                    json!({ "code": code, "status": status, "message": status })
                }
                None => json!({ "code": null, "status": "unused", "message": null }),
            };
        }
        shown
    }
}
