//! Webhooks of repositories, organisations and Apps: where they lead, and what was sent there. The state alone; the routes are in
//! [`crate::rest_hooks`].

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::call::Origin;
use crate::ids::{CredentialId, DeliveryId, HookId, ScopeId};
use crate::moment;
use crate::scope::ScopeKind;
use crate::sim::Sim;

/// Hooks that one scope has at most, per event (protocol.md, 5.4); the simulation knows of one event that matters.
pub(crate) const HOOKS_MAX: usize = 20;

/// How GitHub shows a secret.
const HIDDEN: &str = "********";

/// Whose a webhook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookOwner {
    Scope(ScopeId),
    /// An App's own, of which each has one. It hears of every owner on which the App is installed.
    App(CredentialId),
}

/// A webhook.
#[derive(Debug)]
pub(crate) struct Hook {
    pub id: HookId,
    pub owner: HookOwner,
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
        self.by_id.values().filter(move |hook| hook.owner == HookOwner::Scope(scope))
    }

    /// An App's own hook.
    pub fn of_app(&self, app: CredentialId) -> Option<&Hook> {
        self.by_id.values().find(|hook| hook.owner == HookOwner::App(app))
    }

    /// The own hooks of Apps.
    pub fn of_apps(&self) -> impl Iterator<Item = (&Hook, CredentialId)> {
        self.by_id.values().filter_map(|hook| match hook.owner {
            HookOwner::App(app) => Some((hook, app)),
            HookOwner::Scope(_) => None,
        })
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
        let scope = match hook.owner {
            HookOwner::Scope(scope) => self.scopes.get(scope),
            HookOwner::App(_) => None,
        };
        let path = scope.map_or("", |scope| scope.path.as_str());
        let in_repository = scope.is_some_and(|scope| scope.kind == ScopeKind::Repo);
        let of = if in_repository { "repos" } else { "orgs" };
        let url = format!("{}/{of}/{path}/hooks/{}", origin.api, hook.id);
        let mut shown = json!({
            "type": if in_repository { "Repository" } else { "Organization" },
            "id": hook.id,
            "name": "web",
            "active": hook.active,
            "events": hook.events,
            "config": hook.config_json(),
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

impl Hook {
    /// A hook without an id and an address, as GitHub takes it for where nothing is said.
    pub fn new(now: Timestamp, origin: Origin) -> Self {
        Self {
            id: HookId(0),
            owner: HookOwner::Scope(ScopeId(0)),
            url: String::new(),
            content_type: "form".to_owned(),
            secret: None,
            insecure_ssl: "0".to_owned(),
            events: vec!["push".to_owned()],
            active: true,
            created_at: now,
            updated_at: now,
            deliveries: VecDeque::new(),
            last: None,
            origin,
        }
    }

    /// Its configuration as the REST shows it.
    pub fn config_json(&self) -> Value {
        let mut config = json!({
            "content_type": self.content_type,
            "insecure_ssl": self.insecure_ssl,
        });
        // That an App's own has none before it is set is a guess.
        if !self.url.is_empty() {
            config["url"] = self.url.clone().into();
        }
        if self.secret.is_some() {
            config["secret"] = HIDDEN.into();
        }
        config
    }
}
