//! LXDRunner's `config.yml` (its `config.yml.example` and `appconf.py`): webhooks, and an LXD instance for each job.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::FlowSeq;

use super::{
    draft::{Auth, Backend, Budget, BudgetedBackend, Draft, Lxd, Pool, Server, Tls, shown},
    image::{Remote, image},
    names, told,
};

/// `max_workers` where nobody says it.
const MAX_WORKERS: u32 = 10;

/// What has no part in dayfly: paths of its cache, its tests' settings, and its delays.
const IGNORED: [&str; 9] = [
    "pkgdir",
    "dirs",
    "config_home",
    "cache_home",
    "cleanup",
    "rundelay",
    "activecfg",
    "def_repo_args",
    "def_org_args",
];

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    max_workers: Option<u32>,
    /// The local server, in versions without `remotes`.
    #[serde(default)]
    socket: Option<String>,
    #[serde(default)]
    remotes: BTreeMap<String, RemoteConfig>,
    #[serde(default)]
    runnermap: Vec<Runner>,
    #[serde(default)]
    web_host: Option<String>,
    #[serde(default)]
    web_port: Option<u16>,
    #[serde(default)]
    web_tls: Option<bool>,
    #[serde(default)]
    setupscript: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct RemoteConfig {
    #[serde(default)]
    addr: Option<String>,
    protocol: String,
}

#[derive(Deserialize)]
struct Runner {
    name: String,
    #[serde(default)]
    labels: Vec<String>,
    image: String,
    #[serde(default)]
    profiles: Option<Vec<String>>,
    #[serde(rename = "type")]
    kind: String,
    runner_os: String,
    runner_arch: String,
    #[serde(default)]
    setup_script: Option<String>,
    #[serde(default)]
    max_workers: Option<u32>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Reads the file.
pub fn read(text: &str, url: Option<&str>) -> Result<Draft, String> {
    let config: Config = serde_saphyr::from_str(text).map_err(|error| told(&error))?;
    if config.runnermap.is_empty() {
        return Err("it has no `runnermap`".to_owned());
    }
    let mut draft = Draft::default();
    let known =
        |key: &&String| !IGNORED.contains(&key.as_str()) && *key != "pat" && *key != "hooksecret";
    draft.unknown("", config.rest.keys().filter(known));
    draft.note("`pat` is a secret and stands in the file: put it into /etc/dayfly/github-token, with `chmod 600`");
    draft.note("`hooksecret` is a secret and stands in the file: put it into /etc/dayfly/webhook-secret, with `chmod 600`");
    if config.prefix.is_some() {
        draft.note("`prefix` has no counterpart: runners and instances are named after their pool");
    }
    server(&mut draft, &config);
    backend(&mut draft, &config);
    let remotes = remotes(&config);
    let scope = draft.scope(url, Auth::Token("file:/etc/dayfly/github-token".to_owned()));
    for runner in &config.runnermap {
        add(&mut draft, &config, &remotes, &scope, runner);
    }
    Ok(draft)
}

fn server(draft: &mut Draft, config: &Config) {
    let host = config.web_host.as_deref().unwrap_or("0.0.0.0");
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let tls = config.web_tls.unwrap_or(true).then(|| {
        draft.note("LXDRunner made a certificate of its own for the webhooks: name one under `server.tls`, or take `tls` out behind a proxy");
        Tls { cert: "/etc/dayfly/server.crt".to_owned(), key: "/etc/dayfly/server.key".to_owned() }
    });
    draft.note("LXDRunner took webhooks under `/`, dayfly takes them under `/webhook`: change the webhook's address at GitHub");
    draft.server = Some(Server {
        listen: format!("{host}:{}", config.web_port.unwrap_or(5000)),
        tls,
        webhook_secret: Some("file:/etc/dayfly/webhook-secret".to_owned()),
    });
}

fn backend(draft: &mut Draft, config: &Config) {
    let main = config.remotes.get("main").and_then(|main| main.addr.clone());
    let main = main.or_else(|| config.socket.clone()).filter(|addr| !addr.is_empty());
    let lxd = match main {
        None => Lxd::default(),
        Some(addr) if addr.starts_with("https://") => {
            draft.note("the remote LXD must trust dayfly's certificate, and `server_cert` must be the server's own: docs/lxd.md says how");
            Lxd {
                url: Some(addr),
                client_cert: Some("/etc/dayfly/lxd.crt".to_owned()),
                client_key: Some("file:/etc/dayfly/lxd.key".to_owned()),
                server_cert: Some("/etc/dayfly/lxd-server.crt".to_owned()),
                ..Lxd::default()
            }
        }
        Some(socket) => Lxd { socket: Some(socket), ..Lxd::default() },
    };
    // `max_workers` holds for all runners together, and for each: one pool's `max` says both.
    let budget = (config.runnermap.len() > 1)
        .then(|| Budget { runners: config.max_workers.unwrap_or(MAX_WORKERS) });
    let of = BudgetedBackend { budget, ..Backend::Lxd(lxd).into() };
    draft.backends.insert("lxd".to_owned(), of);
}

fn remotes(config: &Config) -> BTreeMap<String, Remote> {
    let remote = |(name, of): (&String, &RemoteConfig)| {
        let addr = of.addr.clone()?;
        Some((name.clone(), Remote { addr, simplestreams: of.protocol == "simplestreams" }))
    };
    config.remotes.iter().filter_map(remote).collect()
}

fn add(
    draft: &mut Draft,
    config: &Config,
    remotes: &BTreeMap<String, Remote>,
    scope: &str,
    runner: &Runner,
) {
    let place = format!("runner `{}`: ", shown(&runner.name));
    draft.unknown(&place, runner.rest.keys());
    let arch = match (runner.runner_os.as_str(), runner.runner_arch.as_str()) {
        ("linux", arch @ ("x64" | "arm" | "arm64")) => arch,
        (os, arch) => {
            draft.note(format!(
                "{place}left out, for dayfly has no runners for {}/{}",
                shown(os),
                shown(arch)
            ));
            return;
        }
    };
    let image = match image(&runner.image, remotes) {
        Ok(image) => image,
        Err(why) => {
            draft.note(format!("{place}left out: {}", shown(&why)));
            return;
        }
    };
    let instance = match runner.kind.as_str() {
        "container" => None,
        "virtual-machine" => Some("vm"),
        other => {
            draft.note(format!("{place}left out, for its type `{}` is unknown", shown(other)));
            return;
        }
    };
    if runner.setup_script.is_some() || config.setupscript.is_some() {
        draft.note(format!(
            "{place}what its setup script does belongs into the image, or as a text under `setup`"
        ));
    }
    let max = runner.max_workers.or(config.max_workers).unwrap_or(MAX_WORKERS);
    // Its runners registered by `config.sh`, which gives them these two labels.
    let labels = names::labels(runner.labels.iter().map(String::as_str).chain(["linux", arch]));
    draft.pools.push(Pool {
        name: draft.pool_name(&runner.name),
        github: scope.to_owned(),
        labels: FlowSeq(labels),
        group: None,
        demand: "webhook",
        scale_set: None,
        adopt: false,
        priority: None,
        backends: FlowSeq(vec!["lxd".to_owned()]),
        image,
        instance,
        profiles: runner.profiles.clone().filter(|of| *of != ["default"]).map(FlowSeq),
        // It put the newest one into each instance, too.
        runner_version: Some("latest"),
        command: None,
        mounts: Vec::new(),
        min_idle: None,
        max,
    });
}
