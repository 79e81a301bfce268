//! Where the engine is: as the configuration says, else as the `docker` program would find it.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use dayfly_core::ports::{BackendError, BackendErrorKind};

use super::contexts;
use crate::failure::failure;

/// Docker's own default.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// How to reach a Docker engine. Where all are `None`: as the `docker` program does, by `DOCKER_HOST` (with
/// `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`), `DOCKER_CONTEXT`, the current context, the default socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerOptions {
    /// `unix:///path` or `tcp://host:port`.
    pub host: Option<String>,
    /// The name of a context of the `docker` program; not beside `host`.
    pub context: Option<String>,
    /// Certificates for `host`.
    pub tls: Option<TlsFiles>,
    /// The directory of the `docker` program's `config.json`, with contexts and passwords for registries; `None`:
    /// `DOCKER_CONFIG`, else `.docker` in the home directory.
    pub config_directory: Option<PathBuf>,
}

/// PEM files for a TLS connection that both ends prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that may have signed the engine's certificate; no other is trusted.
    pub ca: PathBuf,
    /// Our certificate, followed by its chain.
    pub certificate: PathBuf,
    /// Our private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The names that the `docker` program gives them.
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self {
            ca: directory.join("ca.pem"),
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        }
    }
}

/// What of the process's surroundings the `docker` program heeds.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    pub(super) docker_host: Option<String>,
    pub(super) docker_context: Option<String>,
    pub(super) tls_verify: bool,
    pub(super) cert_path: Option<PathBuf>,
    /// The directory of `config.json`; none where not even a home is known.
    pub(super) config_directory: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn of_process() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let directory =
            |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            cert_path: directory("DOCKER_CERT_PATH"),
            config_directory: directory("DOCKER_CONFIG")
                .or_else(|| directory("HOME").map(|home| home.join(".docker"))),
        }
    }
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tcp { authority: String, tls: Option<TlsFiles> },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, .. } => write!(f, "tcp://{authority}"),
        }
    }
}

impl Endpoint {
    /// Settles where the engine is.
    ///
    /// # Errors
    /// Where an address or a context can't be used.
    pub(super) fn resolve(
        options: &DockerOptions,
        around: &Surroundings,
    ) -> Result<Self, BackendError> {
        if options.host.is_some() && options.context.is_some() {
            return Err(wrong("both `host` and `context` are given: leave one out"));
        }
        if options.tls.is_some() && options.host.is_none() {
            return Err(wrong(
                "certificates are given without `host`: say which engine they are for",
            ));
        }
        if let Some(host) = &options.host {
            return Self::parse(host, options.tls.clone());
        }
        if let Some(context) = &options.context {
            return contexts::read(context, around);
        }
        if let Some(host) = &around.docker_host {
            let certificates = around.cert_path.as_ref().or(around.config_directory.as_ref());
            let tls = certificates
                .filter(|_| around.tls_verify)
                .map(|directory| TlsFiles::in_directory(directory));
            return Self::parse(host, tls);
        }
        match around.docker_context.clone().or_else(|| contexts::current(around)) {
            Some(context) => contexts::read(&context, around),
            None => Ok(Self::default()),
        }
    }

    /// Reads an address in the words of `DOCKER_HOST`.
    pub(super) fn parse(host: &str, tls: Option<TlsFiles>) -> Result<Self, BackendError> {
        if let Some(path) = host.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(wrong(&format!(
                    "`{host}` does not name a socket by its whole path, as unix:///path does"
                )));
            }
            return Ok(Self::Unix(path.into()));
        }
        if let Some(rest) =
            ["tcp://", "http://", "https://"].iter().find_map(|scheme| host.strip_prefix(scheme))
        {
            let rest = rest.trim_end_matches('/');
            let authority: http::uri::Authority = rest.parse().map_err(|_| {
                wrong(&format!("`{host}` does not name a host and a port, as tcp://host:2376 does"))
            })?;
            if authority.as_str().contains('@') {
                return Err(wrong(
                    "the engine's address holds a user name: Docker knows none, use certificates",
                ));
            }
            // The ports that Docker registered for plain and for TLS connections.
            let port = authority.port_u16().unwrap_or(if tls.is_some() { 2376 } else { 2375 });
            return Ok(Self::Tcp { authority: format!("{}:{port}", authority.host()), tls });
        }
        if host.starts_with("ssh://") {
            let remedy = "forward the socket instead: ssh -NL /run/remote-docker.sock:/var/run/docker.sock HOST";
            return Err(wrong(&format!("`{host}`: ssh:// is not in this version; {remedy}")));
        }
        Err(wrong(&format!("`{host}` is no address of an engine: unix:///path or tcp://host:port")))
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::Unix(DEFAULT_SOCKET.into())
    }
}

pub(super) fn wrong(detail: &str) -> BackendError {
    failure(BackendErrorKind::NotAllowed, "find the Docker engine", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> DockerOptions {
        DockerOptions { host: Some(host.to_owned()), ..DockerOptions::default() }
    }

    #[test]
    fn addresses_are_read_or_refused_with_a_remedy() {
        let check = |address: &str, expected: Result<&str, &str>| {
            let found = Endpoint::resolve(&host(address), &Surroundings::default());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.to_string(), expected),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (found, expected) => panic!("{address}: {found:?}, not {expected:?}"),
            }
        };
        check("unix:///run/docker.sock", Ok("unix:///run/docker.sock"));
        check("tcp://rack1", Ok("tcp://rack1:2375"));
        check("tcp://10.0.0.7:2376/", Ok("tcp://10.0.0.7:2376"));
        check("tcp://[::1]:2375", Ok("tcp://[::1]:2375"));
        check("unix://docker.sock", Err("whole path"));
        check("tcp://", Err("host and a port"));
        check("tcp://a b", Err("host and a port"));
        check("tcp://me:word@rack1", Err("user name"));
        check("ssh://rack1", Err("ssh -NL"));
        check("rack1", Err("no address"));
    }

    #[test]
    fn the_surroundings_count_where_the_options_are_silent() {
        let around = Surroundings {
            docker_host: Some("tcp://rack2".to_owned()),
            tls_verify: true,
            cert_path: Some("/certs".into()),
            ..Surroundings::default()
        };
        let tls = Some(TlsFiles::in_directory(Path::new("/certs")));
        let silent = DockerOptions::default();
        let found = Endpoint::resolve(&silent, &around).unwrap();
        assert_eq!(found, Endpoint::Tcp { authority: "rack2:2376".to_owned(), tls });
        assert_eq!(
            Endpoint::resolve(&silent, &Surroundings::default()).unwrap(),
            Endpoint::default()
        );
        let told = Endpoint::resolve(&host("tcp://rack1"), &around).unwrap();
        assert_eq!(told, Endpoint::Tcp { authority: "rack1:2375".to_owned(), tls: None });
    }

    #[test]
    fn contradictions_are_refused() {
        let both = DockerOptions { context: Some("a".to_owned()), ..host("tcp://rack1") };
        assert!(Endpoint::resolve(&both, &Surroundings::default()).is_err());
        let tls = Some(TlsFiles::in_directory(Path::new("/certs")));
        let alone = DockerOptions { tls, ..DockerOptions::default() };
        assert!(Endpoint::resolve(&alone, &Surroundings::default()).is_err());
    }
}
