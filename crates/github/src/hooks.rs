//! Our webhooks at GitHub (protocol.md, 5.4): found by their address, made, mended and removed.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use dayfly_core::{
    model::ScopeKind,
    ports::{Finding, ForgeError, ForgeErrorKind},
};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    client::{GitHub, Shared},
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, error, unanswered, unreadable},
    scale_sets::json,
    scrub::clean,
};

/// The event that tells of jobs.
pub(crate) const EVENT: &str = "workflow_job";

/// The exit code of a hook that is missing or wrong (docs/cli.md).
const EXIT_CODE: u8 = 4;

/// Characters of an address or a status that are shown.
pub(crate) const SHOWN_MAX: usize = 200;

/// A hook as GitHub lists it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HookWire {
    pub id: i64,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    config: ConfigWire,
    #[serde(default)]
    last_response: LastResponse,
}

/// Where a hook leads, and how.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ConfigWire {
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub content_type: Option<String>,
    /// Hidden by GitHub; only whether there is one.
    #[serde(default)]
    pub secret: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct LastResponse {
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Serialize)]
struct HookBody<'a> {
    name: &'static str,
    active: bool,
    events: [&'static str; 1],
    config: ConfigBody<'a>,
}

#[derive(Serialize)]
pub(crate) struct ConfigBody<'a> {
    url: &'a str,
    content_type: &'static str,
    insecure_ssl: &'static str,
    secret: &'a str,
}

impl<'a> ConfigBody<'a> {
    pub fn new(url: &'a str, secret: &'a SecretString) -> Self {
        let secret = secret.expose_secret();
        Self { url, content_type: "json", insecure_ssl: "0", secret }
    }
}

/// Where hooks are: an organisation, a repository, or the App, which has one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookPlace {
    words: String,
    /// Its list of hooks; of an App, what is below its only one.
    url: Url,
    is_app: bool,
}

impl fmt::Display for HookPlace {
    /// "organization acme".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl HookPlace {
    /// The address of one of its hooks, or of what is below it.
    pub(crate) fn of_hook(&self, id: i64, below: &[&str]) -> Url {
        let id = id.to_string();
        let hook = (!self.is_app).then_some(id.as_str());
        crate::address::below(&self.url, hook.into_iter().chain(below.iter().copied()))
    }

    /// Whether it is the App: its webhook is asked for as the App itself, and is neither made nor removed.
    #[must_use]
    pub fn is_app(&self) -> bool {
        self.is_app
    }

    /// In words.
    pub(crate) fn words(&self) -> &str {
        &self.words
    }
}

/// What became of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookChange {
    /// There was none: it was made.
    Made,
    /// There was one: its secret, its event and its form were set.
    Set,
    /// It was removed.
    Removed,
    /// There was none, and none is wanted.
    Absent,
}

impl GitHub {
    /// Where our hooks belong: at the organisation or the repository of the scope; for an enterprise, which can have none by REST,
    /// at each of the repositories; at the App, where its own webhook is used.
    #[must_use]
    pub fn hook_places(&self, repositories: &[String]) -> Vec<HookPlace> {
        self.shared.hook_places(repositories)
    }

    /// Makes the hook of a place that leads to `url`, or sets the one that is there.
    ///
    /// # Errors
    /// What GitHub said.
    pub async fn install_hook(
        &self,
        place: &HookPlace,
        url: &str,
        secret: &SecretString,
    ) -> Result<HookChange, ForgeError> {
        let shared = &self.shared;
        if place.is_app {
            return shared.set_app_hook(place, url, secret).await;
        }
        let operation = Operation::ChangeHook(&place.words);
        let body = HookBody {
            name: "web",
            active: true,
            events: [EVENT],
            config: ConfigBody::new(url, secret),
        };
        let body = json(&operation, &body)?;
        if let Some(hook) = shared.find_hook(place, url).await? {
            let address = place.of_hook(hook.id, &[]);
            if shared.change_hook(&operation, Method::PATCH, &address, body).await? {
                return Ok(HookChange::Set);
            }
            let what = "the webhook went away meanwhile; install it again";
            return Err(unreadable(&operation, Surface::Rest, what));
        }
        // A second attempt would be refused as a double: what was lost is found by the next install.
        let (authorization, answer) = shared.rest_once(&operation, &place.url, body).await?;
        let response =
            answer.map_err(|cause| unanswered(&operation, authorization.token(), &cause))?;
        if response.status().is_success() {
            return Ok(HookChange::Made);
        }
        let (surface, bucket) = (Surface::Rest, Bucket::Core);
        Err(shared.rest_refusal(&operation, surface, bucket, &authorization, &response))
    }

    /// Removes the hook of a place that leads to `url`; absent is success.
    ///
    /// # Errors
    /// What GitHub said.
    pub async fn remove_hook(
        &self,
        place: &HookPlace,
        url: &str,
    ) -> Result<HookChange, ForgeError> {
        let operation = Operation::ChangeHook(&place.words);
        if place.is_app {
            let detail =
                "GitHub has no REST for it: switch it off at the App's page (Webhook, Active)";
            return Err(error(&operation, ForgeErrorKind::Refused, detail));
        }
        let Some(hook) = self.shared.find_hook(place, url).await? else {
            return Ok(HookChange::Absent);
        };
        let address = place.of_hook(hook.id, &[]);
        let (method, body) = (Method::DELETE, Bytes::new());
        let removed = self.shared.change_hook(&operation, method, &address, body).await?;
        Ok(if removed { HookChange::Removed } else { HookChange::Absent })
    }

    /// Looks at the hook of a place that leads to `url`.
    pub async fn check_hook(&self, place: &HookPlace, url: &str) -> Finding {
        if place.is_app {
            let result = self.shared.check_app_hook(place, url).await;
            return Finding { what: format!("webhook of {place}"), result, exit_code: EXIT_CODE };
        }
        let result = match self.shared.find_hook(place, url).await {
            Ok(Some(hook)) => hook.verdict(),
            Ok(None) => Err(format!(
                "no webhook of {place} leads to {}: `dayfly webhook install` makes it",
                clean(url, SHOWN_MAX)
            )),
            Err(refusal) => Err(refusal.to_string()),
        };
        Finding { what: format!("webhook of {place}"), result, exit_code: EXIT_CODE }
    }

    /// The addresses that GitHub's webhooks come from, as networks (`192.0.2.0/24`).
    ///
    /// # Errors
    /// What GitHub said.
    pub async fn hook_addresses(&self) -> Result<Vec<String>, ForgeError> {
        #[derive(Deserialize)]
        struct Meta {
            #[serde(default)]
            hooks: Vec<String>,
        }
        let operation = Operation::ReadMeta;
        let url = self.shared.address.rest_url(["meta"]);
        let response = self.shared.rest(&operation, Method::GET, &url).await?;
        let meta: Option<Meta> = serde_json::from_slice(response.body()).ok();
        let hooks = meta.map(|meta| meta.hooks).filter(|hooks| !hooks.is_empty());
        hooks.ok_or_else(|| {
            let detail = "GitHub tells no addresses of webhooks; name the networks by `allow`";
            error(&operation, ForgeErrorKind::Refused, detail)
        })
    }
}

impl ConfigWire {
    pub fn leads_to(&self, url: &str) -> bool {
        let same = |known: &str| known.trim_end_matches('/') == url.trim_end_matches('/');
        self.url.as_deref().is_some_and(same)
    }

    /// Where it leads, where that is neither nowhere nor `url`.
    pub fn leads_elsewhere(&self, url: &str) -> Option<&str> {
        self.url.as_deref().filter(|known| !known.is_empty() && !self.leads_to(url))
    }
}

impl HookWire {
    /// Whether it tells us of jobs.
    fn verdict(&self) -> Result<String, String> {
        let mend = "`dayfly webhook install` mends it";
        if !self.active {
            return Err(format!("it is switched off: {mend}"));
        }
        if !self.events.iter().any(|event| event == EVENT || event == "*") {
            return Err(format!("it does not send the event `{EVENT}`: {mend}"));
        }
        if self.config.secret.is_none() {
            return Err(format!("it has no secret, so that its deliveries are refused: {mend}"));
        }
        let form = self.config.content_type.as_deref().unwrap_or("form");
        match (self.last_response.code, &self.last_response.message) {
            (Some(code), _) if (200..300).contains(&code) => {
                Ok(format!("it sends {form}, and its newest delivery was answered well"))
            }
            (Some(0) | None, _) => Ok(format!("it sends {form}")),
            (Some(code), message) => Err(format!(
                "its newest delivery was answered {code} ({}): look at the daemon's log, and whether GitHub can reach it",
                clean(message.as_deref().unwrap_or("no words"), SHOWN_MAX)
            )),
        }
    }
}

impl Shared {
    pub fn hook_places(&self, repositories: &[String]) -> Vec<HookPlace> {
        if self.app_webhook.get().is_some() {
            return vec![HookPlace {
                words: "the GitHub App".to_owned(),
                url: self.address.rest_url(["app", "hook"]),
                is_app: true,
            }];
        }
        match self.address.kind() {
            ScopeKind::Enterprise(_) => repositories
                .iter()
                .map(|repository| {
                    let (owner, name) = repository.split_once('/').unwrap_or((repository, ""));
                    HookPlace {
                        words: format!("repository {repository}"),
                        url: self.address.rest_url(["repos", owner, name, "hooks"]),
                        is_app: false,
                    }
                })
                .collect(),
            _ => vec![HookPlace {
                words: self.scope.clone(),
                url: self.address.scope_url(&["hooks"]),
                is_app: false,
            }],
        }
    }

    /// The hook of a place that leads to `url`.
    pub async fn find_hook(
        self: &Arc<Self>,
        place: &HookPlace,
        url: &str,
    ) -> Result<Option<HookWire>, ForgeError> {
        let operation = Operation::ListHooks(&place.words);
        let mut list = place.url.clone();
        list.query_pairs_mut().append_pair("per_page", "100");
        let read = |body: &[u8]| serde_json::from_slice::<Vec<HookWire>>(body).ok();
        let pages = self.pages_of(&operation, &self.memory.hooks, list, read, |_| false).await?;
        let mut hooks = pages.iter().flat_map(|page| &page.items);
        Ok(hooks.find(|hook| hook.config.leads_to(url)).cloned())
    }

    /// `false` where the hook is gone.
    async fn change_hook(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        method: Method,
        address: &Url,
        body: Bytes,
    ) -> Result<bool, ForgeError> {
        let asked = self.rest_ask(operation, method, address, body, None).await?;
        let (authorization, response) = asked;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => {
                let (surface, bucket) = (Surface::Rest, Bucket::Core);
                Err(self.rest_refusal(operation, surface, bucket, &authorization, &response))
            }
        }
    }
}
