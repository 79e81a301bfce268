//! The HTTP endpoint that a configuration names: opened, and told where webhooks may come from.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dayfly_config::{
    AllowConfig, Config, ProcessEnvironment, ServerConfig, ServerTls, WebhookConfig,
};
use dayfly_core::model::{DemandSource, ScopeName};
use dayfly_github::{GitHub, WebhookSecrets};
use dayfly_server::{Allowed, Intake, IntakeOptions, TlsFiles, WebhookOptions};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{format_chain, secrets::unreadable};
use crate::failure::{Code, Failure};

/// How long GitHub's addresses are believed: it announces changes weeks before.
const ASKED_EVERY: Duration = Duration::from_secs(3_600);

/// How soon it is asked again after a failure.
const ASKED_AGAIN: Duration = Duration::from_secs(60);

/// The addresses that webhooks come from, as networks; `None` until GitHub has told.
type Addresses = watch::Sender<Option<Vec<ipnet::IpNet>>>;

/// An open endpoint, and what keeps its knowledge of GitHub's addresses fresh.
pub struct Endpoint {
    /// The endpoint.
    pub intake: Intake,
    /// Where webhooks may come from GitHub's addresses alone.
    pub addresses: Option<AddressBook>,
}

/// Asks GitHub where its webhooks come from.
pub struct AddressBook {
    tell: Addresses,
    /// Whom to ask, and what each told last.
    forges: Vec<(Arc<GitHub>, Option<Vec<ipnet::IpNet>>)>,
}

/// Opens the endpoint, where the configuration has one.
pub async fn open(
    config: &Config,
    forges: &BTreeMap<ScopeName, Arc<GitHub>>,
) -> Result<Option<Endpoint>, Failure> {
    let Some(server) = &config.server else { return Ok(None) };
    let (tell, told) = watch::channel(None);
    let options = options(server, told)?;
    let intake = Intake::open(options)
        .await
        .map_err(|error| Failure::new(Code::Failed, format_chain(&error)))?;
    info!(address = %intake.address(), tls = server.tls.is_some(), webhooks = server.webhook.is_some(), "the HTTP endpoint listens");
    let asks = server.webhook.as_ref().is_some_and(|webhook| webhook.allow == AllowConfig::GitHub);
    let addresses = asks.then(|| {
        let mut asked: Vec<_> =
            webhook_scopes(config).filter_map(|name| forges.get(name).cloned()).collect();
        if asked.is_empty() {
            asked.extend(forges.values().cloned());
        }
        AddressBook { tell, forges: asked.into_iter().map(|forge| (forge, None)).collect() }
    });
    Ok(Some(Endpoint { intake, addresses }))
}

/// The scopes with pools that hear of their jobs by webhooks.
pub fn webhook_scopes(config: &Config) -> impl Iterator<Item = &ScopeName> {
    config.spec.scopes.keys().filter(|name| {
        let hears = |demand: &DemandSource| *demand == DemandSource::Webhook;
        config.spec.pools.values().any(|pool| pool.scope == **name && hears(&pool.demand))
    })
}

/// What the endpoint is to be like.
pub fn options(
    server: &ServerConfig,
    told: watch::Receiver<Option<Vec<ipnet::IpNet>>>,
) -> Result<IntakeOptions, Failure> {
    Ok(IntakeOptions {
        listen: server.listen,
        tls: server.tls.as_ref().map(|ServerTls { certificate, key }| TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        webhook: server.webhook.as_ref().map(|webhook| self::webhook(webhook, told)).transpose()?,
    })
}

fn webhook(
    webhook: &WebhookConfig,
    told: watch::Receiver<Option<Vec<ipnet::IpNet>>>,
) -> Result<WebhookOptions, Failure> {
    let secrets: Result<Vec<_>, _> =
        webhook.secrets.iter().map(|secret| secret.resolve(&ProcessEnvironment)).collect();
    Ok(WebhookOptions {
        secrets: WebhookSecrets::of(&secrets.map_err(unreadable)?),
        allowed: match &webhook.allow {
            AllowConfig::Everyone => Allowed::Everyone,
            AllowConfig::GitHub => Allowed::Told(told),
            AllowConfig::Networks(networks) => Allowed::Networks(networks.clone()),
        },
        trusted_proxies: webhook.trusted_proxies.clone(),
    })
}

impl AddressBook {
    /// Asks until `ending`. What was told stays in force while GitHub can't be asked.
    pub async fn keep(mut self, ending: CancellationToken) {
        let asking = async {
            loop {
                let wait = if self.ask().await { ASKED_EVERY } else { ASKED_AGAIN };
                sleep(wait).await;
            }
        };
        ending.run_until_cancelled(asking).await;
    }

    /// Every server is asked: each has addresses of its own. One that does not answer leaves those in force that it told
    /// before, and keeps the others' from nobody.
    async fn ask(&mut self) -> bool {
        let mut is_well = true;
        for (forge, known) in &mut self.forges {
            match forge.hook_addresses().await {
                Ok(told) => {
                    let networks = told.iter().filter_map(|text| {
                        let network = text.parse::<ipnet::IpNet>();
                        network.inspect_err(|_| warn!("GitHub tells an odd address")).ok()
                    });
                    *known = Some(networks.collect());
                }
                Err(error) => {
                    warn!(%error, "where webhooks come from is not known anew");
                    is_well = false;
                }
            }
        }
        let mut told = self.forges.iter().filter_map(|(_, known)| known.as_ref()).peekable();
        if told.peek().is_some() {
            self.tell.send_replace(Some(told.flatten().copied().collect()));
        }
        is_well
    }
}
