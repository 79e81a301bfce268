//! What a configuration file says, checked. Holds references to secrets, never a secret.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use dayfly_core::model::{BackendName, ScopeName, Spec};
use ipnet::IpNet;

use crate::{problem::Problem, secret::SecretRef};

/// A checked configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What the planner needs: scopes and pools.
    pub spec: Spec,
    /// How each scope of `spec` is reached.
    pub scopes: BTreeMap<ScopeName, ScopeConfig>,
    /// The backends that the pools name, and others.
    pub backends: BTreeMap<BackendName, BackendConfig>,
    /// The store's file.
    pub store: PathBuf,
    /// The HTTP endpoint; `None`: there is none.
    pub server: Option<ServerConfig>,
    /// What is allowed and may not be meant.
    pub warnings: Vec<Problem>,
}

/// The HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The certificate that it shows; `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// How webhooks are taken; `None`: they are not.
    pub webhook: Option<WebhookConfig>,
}

/// The PEM files of the endpoint's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How webhooks are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// What they are signed with; the first is the one that `dayfly webhook install` gives GitHub.
    pub secrets: Vec<SecretRef>,
    /// The address by which GitHub reaches the endpoint.
    pub url: Option<String>,
    /// Where they may come from.
    pub allow: AllowConfig,
    /// Proxies that are believed when they tell whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
}

/// Where webhooks may come from. They are signed all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowConfig {
    /// From anywhere.
    Everyone,
    /// From the addresses that GitHub tells.
    GitHub,
    /// From these networks.
    Networks(Vec<IpNet>),
}

/// How a scope is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeConfig {
    /// Its address, without a trailing slash.
    pub url: String,
    /// Its credential; `None` for at most one scope, which [`crate::default_token`] serves.
    pub auth: Option<Auth>,
}

/// A credential, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A personal access token, classic or fine-grained.
    Token(SecretRef),
    /// A GitHub App.
    App(AppAuth),
}

/// A GitHub App's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppAuth {
    /// The App's client id, or its numeric id.
    pub client_id: String,
    /// Its private key, PEM.
    pub private_key: SecretRef,
    /// The installation; `None`: found by the scope.
    pub installation_id: Option<u64>,
    /// Whether the App's own webhook tells of jobs, and no hook of the scope.
    pub webhook: bool,
}

/// A backend's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendConfig {
    /// Docker, or Podman by its compatible socket.
    Docker(DockerConfig),
    /// LXD or Incus.
    Lxd(LxdConfig),
    /// Processes of this host.
    Process {
        /// Where instances keep their directories; `None`: the backend's default.
        directory: Option<PathBuf>,
    },
    /// Instances that another process plays, for measurements.
    Noop {
        /// The socket of that process.
        socket: PathBuf,
    },
}

/// How a server of LXD or Incus is reached, and what of it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LxdConfig {
    /// Whether it is Incus.
    pub is_incus: bool,
    /// Where it is.
    pub server: LxdServerConfig,
    /// The project; `None`: the default one.
    pub project: Option<String>,
    /// The member of a cluster that instances are made on; `None`: the cluster chooses.
    pub target: Option<String>,
}

/// Where a server of LXD or Incus is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LxdServerConfig {
    /// On this machine, where its packages put it.
    #[default]
    Found,
    /// On this machine, by its socket.
    Socket(PathBuf),
    /// Elsewhere.
    Remote {
        /// `https://HOST:PORT`.
        url: String,
        /// The PEM file of our certificate.
        client_certificate: PathBuf,
        /// Its private key, PEM.
        client_key: SecretRef,
        /// The PEM file of the server's own certificate; `None`: this machine's authorities vouch for it.
        server_certificate: Option<PathBuf>,
    },
}

/// How a Docker engine is reached. All `None`: as the `docker` program would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    /// `unix:///path` or `tcp://host:port`.
    pub host: Option<String>,
    /// A context of the `docker` program, by name; never beside `host`.
    pub context: Option<String>,
    /// The PEM files of a TLS connection to `host`.
    pub tls: Option<TlsFiles>,
}

/// The PEM files of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that may have signed the engine's certificate.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Our private key.
    pub key: PathBuf,
}
