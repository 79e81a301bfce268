//! `dayfly webhook`: the webhooks that tell the daemon of jobs, made, looked at and removed at GitHub.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use dayfly_config::{Config, ProcessEnvironment, WebhookConfig};
use dayfly_core::{
    model::ScopeName,
    ports::{CaughtUp, Clock, Finding, Forge},
};
use dayfly_engine::SteadyClock;
use dayfly_github::{GitHub, HookChange, HookPlace};
use serde_json::json;

use crate::{
    arguments::{Configured, Webhook},
    check,
    failure::{Code, Failure},
    run,
};

/// Does what was said at every scope that has pools which hear webhooks; removes at every scope, for pools may have heard them
/// before.
pub async fn run(action: &Webhook, json: bool) -> Result<()> {
    let (Webhook::Install(options) | Webhook::Check(options) | Webhook::Remove(options)) = action;
    let config = run::configuration(options)?;
    let (webhook, url) = settings(&config)?;
    let scopes = match action {
        Webhook::Remove(_) => scopes(&config, config.scopes.keys(), options)?,
        Webhook::Install(_) | Webhook::Check(_) => hearing(&config, options)?,
    };
    if let Webhook::Check(_) = action {
        let mut findings = Vec::new();
        for (name, forge) in &scopes {
            findings.extend(of_scope(&config, name, forge).await);
        }
        return check::conclude(&findings, json);
    }
    let secret = match action {
        Webhook::Install(_) => {
            let first = webhook.secrets.first();
            let first = first.map(|secret| secret.resolve(&ProcessEnvironment)).transpose();
            let first = first.map_err(run::unreadable)?;
            Some(first.ok_or_else(|| Failure::new(Code::Config, "`webhook_secret` is empty"))?)
        }
        Webhook::Check(_) | Webhook::Remove(_) => None,
    };
    let mut changes = Vec::new();
    // What one refuses keeps nothing from the others.
    let mut refused: Vec<String> = Vec::new();
    for (name, forge) in &scopes {
        for place in forge.hook_places(&config.spec.scopes[name].repositories) {
            let change = match &secret {
                Some(secret) => forge.install_hook(&place, url, secret).await,
                None => forge.remove_hook(&place, url).await,
            };
            match change {
                Ok(change) => {
                    tell(&place, url, change, json);
                    changes.push(
                        json!({ "place": place.to_string(), "url": url, "change": word(change) }),
                    );
                }
                Err(refusal) => refused.push(refusal.to_string()),
            }
        }
    }
    if json {
        println!("{}", serde_json::to_string(&changes)?);
    }
    // Scopes may share an App, which has one webhook.
    refused.dedup();
    if !refused.is_empty() {
        return Err(Failure::new(Code::Credential, refused.join("\n")).into());
    }
    if changes.is_empty() {
        return Err(Failure::new(Code::Config, "no scope has a place for webhooks")
            .hint("name the `repositories` of the enterprise")
            .into());
    }
    Ok(())
}

/// Whether the jobs of a scope can be read, and its webhooks lead here.
pub async fn of_scope(config: &Config, name: &ScopeName, forge: &GitHub) -> Vec<Finding> {
    let scope = &config.spec.scopes[name];
    // This client does not know where webhooks lead, so it has none of them sent again: that is the daemon's.
    let read = async |what: String, repositories: &[String]| {
        let caught = forge.catch_up(repositories, None).await;
        let result = match caught {
            Ok(CaughtUp { trouble: None, jobs, .. }) => {
                Ok(format!("{} of queued and running workflow runs", jobs.len()))
            }
            Ok(CaughtUp { trouble: Some(refusal), .. }) | Err(refusal) => Err(refusal.to_string()),
        };
        Finding { what, result, exit_code: Code::Credential as u8 }
    };
    let mut findings = Vec::new();
    for repository in scope.repositories.chunks(1) {
        findings.push(read(format!("jobs of {}", repository.concat()), repository).await);
    }
    if findings.is_empty() {
        findings.push(read("jobs".to_owned(), &[]).await);
    }
    let url = config.server.as_ref().and_then(|server| server.webhook.as_ref()?.url.as_deref());
    if let Some(url) = url {
        for place in forge.hook_places(&scope.repositories) {
            findings.push(forge.check_hook(&place, url).await);
        }
    }
    let of_scope =
        |finding: Finding| Finding { what: format!("scope {name}: {}", finding.what), ..finding };
    findings.into_iter().map(of_scope).collect()
}

/// How webhooks are taken, and the address by which GitHub reaches us.
fn settings(config: &Config) -> Result<(&WebhookConfig, &str), Failure> {
    let webhook = config.server.as_ref().and_then(|server| server.webhook.as_ref());
    let missing = |what: &str, hint: &str| {
        Failure::new(Code::Config, format!("the configuration has no {what}")).hint(hint)
    };
    let webhook = webhook.ok_or_else(|| {
        let hint = "write `server: { listen: …, webhook_secret: …, webhook_url: … }`";
        missing("`webhook_secret` of `server`", hint)
    })?;
    let url = webhook.url.as_deref().ok_or_else(|| {
        let hint = "write the address by which GitHub reaches the daemon, such as https://dayfly.example.com/webhook";
        missing("`webhook_url` of `server`", hint)
    })?;
    Ok((webhook, url))
}

/// The scopes with pools that hear webhooks.
fn hearing(config: &Config, options: &Configured) -> Result<BTreeMap<ScopeName, GitHub>, Failure> {
    let scopes = scopes(config, run::webhook_scopes(config), options)?;
    if scopes.is_empty() {
        return Err(Failure::new(Code::Config, "no pool hears webhooks")
            .hint("write `demand: webhook` in a pool; `dayfly webhook remove` removes what was installed for a former one"));
    }
    Ok(scopes)
}

/// A client of GitHub for each of the scopes.
fn scopes<'a>(
    config: &Config,
    names: impl Iterator<Item = &'a ScopeName>,
    options: &Configured,
) -> Result<BTreeMap<ScopeName, GitHub>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::start());
    // Nothing is made in this name: GitHub shows it nowhere.
    let controller =
        run::new_controller().map_err(|error| Failure::new(Code::Failed, format!("{error:#}")))?;
    let mut scopes = BTreeMap::new();
    for name in names {
        let Some(scope) = config.scopes.get(name) else { continue };
        let credential = run::credential(name, scope.auth.as_ref(), options)?;
        let forge = run::forge(name, scope, &credential, controller, Arc::clone(&clock))?;
        scopes.insert(name.clone(), forge);
    }
    Ok(scopes)
}

fn tell(place: &HookPlace, url: &str, change: HookChange, json: bool) {
    if !json {
        let words = match change {
            HookChange::Made => format!("made: GitHub tells {url} of its jobs"),
            HookChange::Set if place.is_app() => {
                format!("it leads to {url}, and its secret is set")
            }
            HookChange::Set => format!("was there: its secret and its event are set, for {url}"),
            HookChange::Removed => format!("removed: GitHub no longer tells {url}"),
            HookChange::Absent => format!("there is none that leads to {url}"),
        };
        println!("webhook of {place}: {words}");
    }
}

fn word(change: HookChange) -> &'static str {
    match change {
        HookChange::Made => "made",
        HookChange::Set => "set",
        HookChange::Removed => "removed",
        HookChange::Absent => "absent",
    }
}
