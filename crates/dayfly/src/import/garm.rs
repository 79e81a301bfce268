//! GARM's `config.toml` (its `testdata/config.toml`), the settings of its LXD and Incus providers, and the pools of its database.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_saphyr::FlowSeq;

use super::{
    draft::{Auth, Backend, Draft, Lxd, Pool, Server, Tls, shown},
    garm_store::GarmPool,
    image::{Remote, image},
    names, told,
};

#[derive(Deserialize)]
pub struct Config {
    #[serde(default)]
    provider: Vec<Provider>,
    #[serde(default)]
    github: Vec<Github>,
    #[serde(default)]
    apiserver: Option<ApiServer>,
    #[serde(default)]
    database: Option<Database>,
}

#[derive(Deserialize)]
struct Provider {
    name: String,
    provider_type: String,
    #[serde(default)]
    external: External,
    /// Before GARM 0.1.5 this one was built in.
    #[serde(default)]
    lxd: Option<LxdProvider>,
}

#[derive(Default, Deserialize)]
struct External {
    #[serde(default)]
    provider_executable: String,
    #[serde(default)]
    provider_dir: String,
    #[serde(default)]
    config_file: String,
}

#[derive(Default, Deserialize)]
struct LxdProvider {
    #[serde(default)]
    unix_socket_path: String,
    #[serde(default)]
    project_name: String,
    #[serde(default)]
    include_default_profile: bool,
    #[serde(default)]
    instance_type: String,
    #[serde(default, alias = "address")]
    url: String,
    #[serde(default)]
    client_certificate: String,
    #[serde(default)]
    client_key: String,
    #[serde(default)]
    tls_server_certificate: String,
    #[serde(default)]
    image_remotes: BTreeMap<String, ImageRemote>,
}

#[derive(Deserialize)]
struct ImageRemote {
    #[serde(default)]
    addr: String,
    #[serde(default)]
    protocol: String,
}

#[derive(Deserialize)]
struct Github {
    name: String,
    #[serde(default)]
    auth_type: String,
    #[serde(default)]
    app: Option<App>,
}

#[derive(Deserialize)]
struct App {
    app_id: u64,
    #[serde(default)]
    installation_id: Option<u64>,
    #[serde(default)]
    private_key_path: String,
}

#[derive(Default, Deserialize)]
struct ApiServer {
    #[serde(default)]
    bind: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    use_tls: bool,
    #[serde(default)]
    tls: ApiTls,
}

#[derive(Default, Deserialize)]
struct ApiTls {
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    key: String,
}

#[derive(Default, Deserialize)]
struct Database {
    #[serde(default)]
    backend: String,
    #[serde(default)]
    sqlite3: Sqlite,
}

#[derive(Default, Deserialize)]
struct Sqlite {
    #[serde(default)]
    db_file: String,
}

/// A provider, as a pool needs it.
struct Place {
    backend: String,
    profiles: Vec<String>,
    instance: Option<&'static str>,
    remotes: BTreeMap<String, Remote>,
}

/// Reads the file.
pub fn parse(text: &str) -> Result<Config, String> {
    let config: Config = toml::from_str(text).map_err(|error| told(&error.message()))?;
    let says_nothing = config.provider.is_empty()
        && config.github.is_empty()
        && config.apiserver.is_none()
        && config.database.is_none();
    if says_nothing {
        return Err("it has none of `provider`, `github`, `apiserver` and `database`".to_owned());
    }
    Ok(config)
}

impl Config {
    /// Its database, where that is SQLite and there.
    pub fn database(&self) -> Option<PathBuf> {
        let path = PathBuf::from(&self.database.as_ref()?.sqlite3.db_file);
        (!path.as_os_str().is_empty() && path.exists()).then_some(path)
    }
}

/// The configuration of GARM's, with its pools, where its database could be read; `file` reads a provider's own settings.
pub fn draft(
    config: &Config,
    pools: Option<Vec<GarmPool>>,
    url: Option<&str>,
    file: &dyn Fn(&Path) -> Result<String, String>,
) -> Draft {
    let mut draft = Draft::default();
    let mut places = BTreeMap::new();
    for provider in &config.provider {
        if let Some(place) = place(&mut draft, provider, file) {
            places.insert(provider.name.as_str(), place);
        }
    }
    server(&mut draft, config);
    match pools {
        Some(pools) => {
            for pool in pools {
                add(&mut draft, config, &places, &pool);
            }
        }
        None => {
            let kind = config.database.as_ref().map(|database| database.backend.as_str());
            let kind = kind.filter(|kind| !kind.is_empty());
            draft.note(format!(
                "GARM keeps its pools in its database ({}), which was not read: name a copy of it by `--database`",
                shown(kind.unwrap_or("sqlite3"))
            ));
            let auth = auth(&mut draft, config, config.github.first().map(|of| of.name.as_str()));
            draft.scope(url, auth);
        }
    }
    draft
}

fn place(
    draft: &mut Draft,
    provider: &Provider,
    file: &dyn Fn(&Path) -> Result<String, String>,
) -> Option<Place> {
    let name = format!("provider `{}`: ", shown(&provider.name));
    let External { provider_executable, provider_dir, config_file } = &provider.external;
    let program = if provider_executable.is_empty() { provider_dir } else { provider_executable };
    let program =
        Path::new(program).file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_lxd = provider.provider_type == "lxd" || program.contains("lxd");
    let is_incus = program.contains("incus");
    if !is_lxd && !is_incus {
        draft.note(format!(
            "{name}left out with its pools, for dayfly has no backend in this version for `{}`",
            shown(if program.is_empty() { &provider.provider_type } else { &program })
        ));
        return None;
    }
    let read;
    let settings = match &provider.lxd {
        Some(settings) => settings,
        None => {
            let settings = file(Path::new(config_file)).and_then(|text| {
                toml::from_str::<LxdProvider>(&text).map_err(|error| told(&error.message()))
            });
            read = settings.unwrap_or_else(|why| {
                draft.note(format!(
                    "{name}its settings were not read, the local server is taken: {}",
                    shown(&why)
                ));
                LxdProvider::default()
            });
            &read
        }
    };
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let remote = filled(&settings.url).filter(|_| settings.unix_socket_path.is_empty());
    let lxd = Lxd {
        socket: filled(&settings.unix_socket_path),
        client_cert: remote.as_ref().and_then(|_| filled(&settings.client_certificate)),
        client_key: remote
            .as_ref()
            .and_then(|_| filled(&settings.client_key))
            .map(|key| format!("file:{key}")),
        server_cert: remote.as_ref().and_then(|_| filled(&settings.tls_server_certificate)),
        url: remote,
        project: filled(&settings.project_name).filter(|project| project != "default"),
    };
    let taken: Vec<&str> = draft.backends.keys().map(String::as_str).collect();
    let backend = names::free(&names::name(&provider.name, "lxd"), &taken);
    draft.backends.insert(
        backend.clone(),
        if is_incus { Backend::Incus(lxd) } else { Backend::Lxd(lxd) }.into(),
    );
    let remotes = settings.image_remotes.iter().map(|(name, of)| {
        (
            name.clone(),
            Remote {
                addr: of.addr.clone(),
                simplestreams: of.protocol != "lxd" && of.protocol != "incus",
            },
        )
    });
    Some(Place {
        backend,
        profiles: if settings.include_default_profile {
            vec!["default".to_owned()]
        } else {
            Vec::new()
        },
        instance: (settings.instance_type != "container").then_some("vm"),
        remotes: remotes.collect(),
    })
}

fn server(draft: &mut Draft, config: &Config) {
    let Some(ApiServer { bind, port, use_tls, tls }) = &config.apiserver else { return };
    if bind.is_empty() || *port == 0 {
        return;
    }
    draft.note("GARM keeps the webhooks' secrets encrypted in its database: put the one that GitHub has into /etc/dayfly/webhook-secret, with `chmod 600`");
    draft.note("dayfly takes webhooks under `/webhook`: change their address at GitHub, or let `dayfly webhook install` make new ones");
    let host = if bind.contains(':') { format!("[{bind}]") } else { bind.clone() };
    draft.server = Some(Server {
        listen: format!("{host}:{port}"),
        tls: use_tls.then(|| Tls { cert: tls.certificate.clone(), key: tls.key.clone() }),
        webhook_secret: Some("file:/etc/dayfly/webhook-secret".to_owned()),
    });
}

fn auth(draft: &mut Draft, config: &Config, name: Option<&str>) -> Auth {
    let known = config.github.iter().find(|of| Some(of.name.as_str()) == name);
    let app = known.filter(|of| of.auth_type == "app").and_then(|of| of.app.as_ref());
    if let Some(App { app_id, installation_id, private_key_path }) = app {
        return Auth::App {
            client_id: app_id.to_string(),
            private_key: format!("file:{private_key_path}"),
            installation_id: *installation_id,
        };
    }
    let file = format!("/etc/dayfly/{}-token", names::name(name.unwrap_or("github"), "github"));
    draft.note(format!(
        "put the token of credential `{}` into {file}, with `chmod 600`; where it is a GitHub App, write `app` in the place of `token`",
        shown(name.unwrap_or("?"))
    ));
    Auth::Token(format!("file:{file}"))
}

fn add(draft: &mut Draft, config: &Config, places: &BTreeMap<&str, Place>, pool: &GarmPool) {
    let kind = if pool.is_scale_set { "scale set" } else { "pool" };
    let title = format!("{kind} `{}`: ", shown(&pool.name));
    let Some(place) = places.get(pool.provider.as_str()) else {
        draft.note(format!("{title}left out with its provider `{}`", shown(&pool.provider)));
        return;
    };
    if pool.os_type != "linux" {
        draft.note(format!(
            "{title}left out, for dayfly has no runners for {}",
            shown(&pool.os_type)
        ));
        return;
    }
    let image = match image(&pool.image, &place.remotes) {
        Ok(image) => image,
        Err(why) => {
            draft.note(format!("{title}left out: {}", shown(&why)));
            return;
        }
    };
    if pool.extra_specs {
        draft.note(format!("{title}its extra specs have no counterpart"));
    }
    if !pool.enabled {
        draft.note(format!("{title}it is disabled, therefore its `max` is 0 and not {}", pool.max));
    }
    let labels = names::labels(pool.labels.iter().map(String::as_str));
    // A pool of GARM's has no name but its id.
    let wanted = match labels.last() {
        Some(label) if !pool.is_scale_set => label.clone(),
        _ => pool.name.clone(),
    };
    let auth = auth(draft, config, pool.credential.as_deref());
    let name = draft.pool_name(&wanted);
    let scope = draft.scope(Some(&pool.url), auth);
    // GARM's flavor is a profile of LXD.
    let mut profiles = place.profiles.clone();
    if !profiles.contains(&pool.flavor) {
        profiles.push(pool.flavor.clone());
    }
    let max = if pool.enabled { pool.max } else { 0 };
    draft.pools.push(Pool {
        github: scope,
        labels: FlowSeq(labels),
        group: pool.group.clone().filter(|group| group != "Default"),
        demand: if pool.is_scale_set { "scale-set" } else { "webhook" },
        scale_set: (pool.is_scale_set && pool.name != name).then(|| pool.name.clone()),
        adopt: pool.is_scale_set,
        name,
        priority: (pool.priority != 0).then_some(pool.priority),
        backends: FlowSeq(vec![place.backend.clone()]),
        image,
        instance: place.instance,
        profiles: Some(FlowSeq(profiles)),
        // It put the newest one into each instance, too.
        runner_version: Some("latest"),
        command: None,
        mounts: Vec::new(),
        min_idle: (pool.min_idle > 0).then_some(pool.min_idle.min(max)).filter(|idle| *idle > 0),
        max,
    });
}
