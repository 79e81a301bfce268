//! `server`: the HTTP endpoint, and how webhooks are taken there.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use ipnet::IpNet;

use crate::{
    config::{AllowConfig, ServerConfig, ServerTls, WebhookConfig},
    github::{FORMS, secret_at},
    keys,
    mask::{has_user_part, visible},
    problem::Problems,
    secret::SecretRef,
    table::{Table, text},
    yaml::{Node, Value},
};

/// Two serve for a change; more are a mistake.
const SECRETS_MAX: usize = 10;

/// Keys that say how webhooks are taken.
const OF_WEBHOOKS: [&str; 3] = ["webhook_url", "allow", "trusted_proxies"];

pub(crate) fn read(file: &Table<'_>, base: &Path, problems: &mut Problems) -> Option<ServerConfig> {
    let table = Table::of(file.get("server")?, &keys::SERVER, problems)?;
    table.required("listen", "write where it listens, such as `listen: 127.0.0.1:8080`", problems);
    let listen = table.parsed("listen", problems, |text| {
        text.parse::<SocketAddr>().map_err(|_| {
            "write an address with a port, such as 127.0.0.1:8080 or [::]:443".to_owned()
        })
    });
    let tls = table.get("tls").and_then(|node| tls(node, base, problems));
    let webhook = webhook(&table, base, problems);
    if let (Some(listen), None, Some(_), None) = (listen, &tls, &webhook, table.get("tls"))
        && !listen.ip().is_loopback()
        && let Some(node) = table.get("listen")
    {
        problems.warning(
            &node.span,
            "webhooks are taken without encryption from a network",
            "add `tls`, or listen on 127.0.0.1 behind a proxy that has a certificate",
        );
    }
    if let (Some(listen), Some(webhook), Some(node)) = (listen, &webhook, table.get("allow"))
        && listen.ip().is_loopback()
        && webhook.trusted_proxies.is_empty()
        && table.get("trusted_proxies").is_none()
        && !may_be_here(&webhook.allow, listen.ip())
    {
        problems.warning(
            &node.span,
            "`allow` refuses every delivery: `listen` hears this machine alone, and no proxy here is trusted",
            format!("name the proxy, such as `trusted_proxies: [{}]`", listen.ip()),
        );
    }
    Some(ServerConfig { listen: listen?, tls, webhook })
}

/// Whether this machine itself may deliver.
fn may_be_here(allow: &AllowConfig, address: IpAddr) -> bool {
    match allow {
        AllowConfig::Everyone => true,
        AllowConfig::GitHub => false,
        // What was written wrongly has been told.
        AllowConfig::Networks(networks) => {
            networks.is_empty() || networks.iter().any(|network| network.contains(&address))
        }
    }
}

/// Whether webhooks are meant to be taken, rightly or not.
pub(crate) fn hears(file: &Table<'_>) -> bool {
    let is_secret = |(key, _): &(Node, Node)| key.text() == Some("webhook_secret");
    file.get("server").is_some_and(|server| match &server.value {
        Value::Map(entries) => entries.iter().any(is_secret),
        _ => false,
    })
}

fn tls(node: &Node, base: &Path, problems: &mut Problems) -> Option<ServerTls> {
    let table = Table::of(node, &keys::SERVER_TLS, problems)?;
    for key in keys::SERVER_TLS.known {
        table.required(key, "`tls` needs both: `cert` and `key`, PEM files", problems);
    }
    let mut path = |key| table.string(key, problems).map(|text| base.join(text));
    let (certificate, key) = (path("cert"), path("key"));
    Some(ServerTls { certificate: certificate?, key: key? })
}

fn webhook(table: &Table<'_>, base: &Path, problems: &mut Problems) -> Option<WebhookConfig> {
    let Some(node) = table.get("webhook_secret") else {
        for key in OF_WEBHOOKS {
            if let Some(node) = table.get(key) {
                problems.error(
                    &node.span,
                    format!("`{key}` is for webhooks, and there is no `webhook_secret`"),
                    format!("write `webhook_secret: [{FORMS}]`, or remove it"),
                );
            }
        }
        return None;
    };
    let secrets = secrets(node, base, problems);
    let url = table.parsed("webhook_url", problems, url);
    if let (Some(url), Some(node)) = (&url, table.get("webhook_url"))
        && url.starts_with("http:")
    {
        problems.warning(
            &node.span,
            "`webhook_url` is not encrypted: what GitHub tells crosses the network in the clear",
            "use https",
        );
    }
    let allow = match table.get("allow") {
        None => AllowConfig::Everyone,
        Some(Node { value: Value::List(nodes), span }) => {
            if nodes.is_empty() {
                problems.error(
                    span,
                    "`allow` is empty, so that every delivery would be refused",
                    "name networks, write `github`, or remove it",
                );
            }
            AllowConfig::Networks(networks(nodes, "allow", problems))
        }
        Some(node) if node.text() == Some("github") => AllowConfig::GitHub,
        Some(node) => {
            problems.error(
                &node.span,
                format!("`allow` can't be `{}`", visible(node.text().unwrap_or(node.word()))),
                "write `github`, or a list of networks such as `[192.0.2.0/24]`",
            );
            AllowConfig::Everyone
        }
    };
    let proxies = table.list("trusted_proxies", problems);
    let trusted_proxies = networks(proxies, "trusted_proxies", problems);
    Some(WebhookConfig { secrets, url, allow, trusted_proxies })
}

/// One secret, or a list of them.
fn secrets(node: &Node, base: &Path, problems: &mut Problems) -> Vec<SecretRef> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() || nodes.len() > SECRETS_MAX {
        problems.error(
            &node.span,
            format!("`webhook_secret` has {} secrets", nodes.len()),
            format!("write 1 to {SECRETS_MAX}: {FORMS}"),
        );
    }
    nodes.iter().filter_map(|node| secret_at(node, "webhook_secret", base, problems)).collect()
}

fn networks(nodes: &[Node], key: &str, problems: &mut Problems) -> Vec<IpNet> {
    let what = format!("an entry of `{key}`");
    let mut networks = Vec::new();
    for node in nodes {
        let Some(text) = text(node, &what, problems) else { continue };
        let alone = || text.text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        match text.text.parse::<IpNet>().ok().or_else(alone) {
            Some(network) => networks.push(network.trunc()),
            None => problems.error(
                text.span,
                format!("{what} can't be `{}`", visible(text.text)),
                "write a network such as 192.0.2.0/24 or 2001:db8::/32, or one address",
            ),
        }
    }
    networks
}

/// The public address of the endpoint.
fn url(text: &str) -> Result<String, String> {
    const REMEDY: &str =
        "write the address by which GitHub reaches it, such as https://dayfly.example.com/webhook";
    let uri: http::Uri = text.parse().map_err(|_| REMEDY.to_owned())?;
    let is_web = matches!(uri.scheme_str(), Some("https" | "http"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if !is_web || !has_host || has_user_part(text) || text.contains('#') {
        return Err(REMEDY.to_owned());
    }
    Ok(text.to_owned())
}
