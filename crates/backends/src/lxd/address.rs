//! Where the server is: as the configuration says, else where the packages put its socket.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use dayfly_core::ports::{BackendError, BackendErrorKind};
use reqwest::Url;
use secrecy::SecretString;

use crate::failure::failure;

/// The sockets of LXD's package, of its snap, and of Incus.
const SOCKETS: [&str; 3] = [
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
    "/var/lib/incus/unix.socket",
];

/// The directories of a server, as its own programs are told of them.
const DIRECTORIES: [&str; 2] = ["LXD_DIR", "INCUS_DIR"];

/// How to reach a server, and what of it is used.
#[derive(Debug, Clone, Default)]
pub struct LxdOptions {
    /// Where it is.
    pub server: LxdServer,
    /// The project; `None`: the default one.
    pub project: Option<String>,
    /// The member of a cluster that instances are made on; `None`: the cluster chooses.
    pub target: Option<String>,
}

/// Where a server is.
#[derive(Debug, Clone, Default)]
pub enum LxdServer {
    /// On this machine: in `LXD_DIR` or `INCUS_DIR`, else where the packages put it.
    #[default]
    Found,
    /// On this machine, by its socket.
    Socket(PathBuf),
    /// Elsewhere.
    Remote(LxdRemote),
}

/// A server that is reached over HTTPS.
#[derive(Debug, Clone)]
pub struct LxdRemote {
    /// `https://HOST:PORT`.
    pub url: String,
    /// PEM: the certificate that the server trusts.
    pub client_certificate: String,
    /// PEM: its private key.
    pub client_key: SecretString,
    /// PEM: the server's own certificate, which no other may replace; `None`: one that this machine's authorities vouch
    /// for.
    pub server_certificate: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Socket(PathBuf),
    Url(Url),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Url(url) => write!(f, "{}", url.as_str().trim_end_matches('/')),
        }
    }
}

impl Address {
    /// Settles where the server is. A socket that is not there yet may be there later.
    ///
    /// # Errors
    /// Where the address can't be used.
    pub(super) fn resolve(server: &LxdServer) -> Result<Self, BackendError> {
        match server {
            LxdServer::Socket(path) => Ok(Self::Socket(path.clone())),
            LxdServer::Found => {
                let told = DIRECTORIES
                    .iter()
                    .filter_map(env::var_os)
                    .find(|directory| !directory.is_empty());
                Ok(Self::Socket(found(told.map(PathBuf::from), Path::exists)))
            }
            LxdServer::Remote(remote) => remote_url(&remote.url).map(Self::Url),
        }
    }
}

fn found(told: Option<PathBuf>, exists: impl Fn(&Path) -> bool) -> PathBuf {
    if let Some(directory) = told {
        return directory.join("unix.socket");
    }
    let known = SOCKETS.iter().map(Path::new);
    known.clone().find(|path| exists(path)).unwrap_or(Path::new(SOCKETS[0])).to_owned()
}

fn remote_url(text: &str) -> Result<Url, BackendError> {
    let refused = |detail: &str| {
        let detail = format!("{detail}: write https://HOST:8443");
        failure(BackendErrorKind::NotAllowed, "find the LXD server", detail)
    };
    let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
    let plain = url.scheme() == "https"
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(refused("the address is not a host and a port alone")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_where_the_packages_put_it() {
        let check = |told: Option<&str>, there: &[&str], expected: &str| {
            let exists = |path: &Path| there.iter().any(|known| Path::new(known) == path);
            assert_eq!(found(told.map(PathBuf::from), exists), Path::new(expected));
        };
        check(None, &[], SOCKETS[0]);
        check(None, &[SOCKETS[1]], SOCKETS[1]);
        check(None, &[SOCKETS[2], SOCKETS[1]], SOCKETS[1]);
        check(None, &[SOCKETS[2]], SOCKETS[2]);
        check(Some("/srv/lxd"), &SOCKETS, "/srv/lxd/unix.socket");
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let check = |text: &str, good: bool| assert_eq!(remote_url(text).is_ok(), good, "{text}");
        check("https://rack1:8443", true);
        check("https://[::1]:8443/", true);
        check("http://rack1:8443", false);
        check("https://me:word@rack1:8443", false);
        check("https://rack1:8443/1.0", false);
        check("https://rack1:8443/?project=a", false);
        check("rack1:8443", false);
        check("", false);
    }
}
