//! The webhook that a GitHub App has of its own (protocol.md, 5.4): one, asked for as the App itself. Where it leads is said by REST;
//! which events it sends, and whether it is switched on, is chosen at the App's page alone.

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::ports::{ForgeError, ForgeErrorKind};
use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use crate::{
    client::Shared,
    conditional::Page,
    deliveries::DeliveryWire,
    hooks::{ConfigBody, ConfigWire, EVENT, HookChange, HookPlace, SHOWN_MAX},
    operation::Operation,
    refusal::{Surface, error, unreadable},
    scale_sets::json,
    scrub::clean,
};

/// The App, as far as its webhook goes.
#[derive(Deserialize)]
struct AppWire {
    #[serde(default)]
    events: Vec<String>,
}

impl Shared {
    /// Has the App's webhook lead to `url`, unless it leads to somebody else.
    pub(crate) async fn set_app_hook(
        &self,
        place: &HookPlace,
        url: &str,
        secret: &SecretString,
    ) -> Result<HookChange, ForgeError> {
        let operation = Operation::ChangeHook(place.words());
        let known = self.app_hook_config(place).await?;
        if let Some(elsewhere) = known.leads_elsewhere(url) {
            let detail = format!(
                "it leads to {}, where somebody else may hear by it: put {} in its place at the App's page",
                clean(elsewhere, SHOWN_MAX),
                clean(url, SHOWN_MAX)
            );
            return Err(error(&operation, ForgeErrorKind::Refused, &detail));
        }
        let body = json(&operation, &ConfigBody::new(url, secret))?;
        let config = place.of_hook(0, &["config"]);
        self.as_own_app(&operation, Method::PATCH, &config, body).await?;
        Ok(HookChange::Set)
    }

    /// Whether the App's webhook leads to `url`.
    pub(crate) async fn is_app_hook_ours(
        &self,
        place: &HookPlace,
        url: &str,
    ) -> Result<bool, ForgeError> {
        Ok(self.app_hook_config(place).await?.leads_to(url))
    }

    async fn app_hook_config(&self, place: &HookPlace) -> Result<ConfigWire, ForgeError> {
        let operation = Operation::ListHooks(place.words());
        let read = self.read_as_app(&operation, &place.of_hook(0, &["config"])).await;
        read.map_err(|refusal| match refusal.kind {
            ForgeErrorKind::NotFound => {
                let detail = format!(
                    "{}; an App without a webhook has none to set: switch it on (\"Active\") at the App's page",
                    refusal.detail
                );
                ForgeError { detail, ..refusal }
            }
            _ => refusal,
        })
    }

    /// Whether the App's webhook tells us of jobs.
    pub(crate) async fn check_app_hook(
        self: &Arc<Self>,
        place: &HookPlace,
        url: &str,
    ) -> Result<String, String> {
        let words = |refusal: ForgeError| refusal.to_string();
        let config = self.app_hook_config(place).await.map_err(words)?;
        let mend = "`dayfly webhook install` mends it";
        if !config.leads_to(url) {
            let leads = config.leads_elsewhere(url);
            let leads = leads.map_or_else(|| "nowhere".to_owned(), |to| clean(to, SHOWN_MAX));
            return Err(format!(
                "it leads to {leads}, and not to {}: {mend}",
                clean(url, SHOWN_MAX)
            ));
        }
        if config.secret.is_none() {
            return Err(format!("it has no secret, so that its deliveries are refused: {mend}"));
        }
        let operation = Operation::ListHooks(place.words());
        let app = self.address.rest_url(["app"]);
        let app: AppWire = self.read_as_app(&operation, &app).await.map_err(words)?;
        if !app.events.iter().any(|event| event == EVENT) {
            return Err(format!(
                "the App does not send the event `{EVENT}`: choose \"Workflow job\" at the App's page (Permissions & events)"
            ));
        }
        let mut list = place.of_hook(0, &["deliveries"]);
        list.query_pairs_mut().append_pair("per_page", "100");
        let operation = Operation::ListDeliveries(place.words());
        let newest = self.app_deliveries(&operation, &list).await.map_err(words)?;
        let form = config.content_type.as_deref().unwrap_or("form");
        match newest.items.first() {
            None => Ok(format!("it sends {form}; nothing was delivered yet")),
            Some(one) if one.is_good() => {
                Ok(format!("it sends {form}, and its newest delivery was answered well"))
            }
            Some(one) => Err(format!(
                "its newest delivery was answered {}, as were {} of the last {}: look at the daemon's log, and whether GitHub can reach it",
                one.status_code,
                newest.items.iter().filter(|one| !one.is_good()).count(),
                newest.items.len()
            )),
        }
    }

    /// One page of what became of the App's deliveries, the newest first.
    pub(crate) async fn app_deliveries(
        &self,
        operation: &Operation<'_>,
        url: &Url,
    ) -> Result<Page<DeliveryWire>, ForgeError> {
        let response = self.as_own_app(operation, Method::GET, url, Bytes::new()).await?;
        self.page_in(operation, url, &response, |body| serde_json::from_slice(body).ok())
    }

    async fn read_as_app<T: DeserializeOwned>(
        &self,
        operation: &Operation<'_>,
        url: &Url,
    ) -> Result<T, ForgeError> {
        let response = self.as_own_app(operation, Method::GET, url, Bytes::new()).await?;
        serde_json::from_slice(response.body())
            .map_err(|_| unreadable(operation, Surface::App, "it is not what it should be"))
    }
}
