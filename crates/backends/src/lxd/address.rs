//! Where the server is: as the configuration says, else where the packages put its socket.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use dayfly_core::ports::{BackendError, BackendErrorKind};
use reqwest::Url;
use secrecy::SecretString;

use crate::failure::failure;

/// Whose server it is. Both speak the same API, and differ where their programs and packages do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Product {
    /// Canonical's LXD.
    #[default]
    Lxd,
    /// Incus, which began as LXD 5.
    Incus,
}

impl Product {
    /// The directory of a server, as its own programs are told of it.
    const fn directory(self) -> &'static str {
        match self {
            Self::Lxd => "LXD_DIR",
            Self::Incus => "INCUS_DIR",
        }
    }

    /// Where packages put its socket: LXD's package and its snap; Incus's own, and what its client looks for too
    /// (`client/connection.go`).
    const fn sockets(self) -> [&'static str; 2] {
        match self {
            Self::Lxd => ["/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket"],
            Self::Incus => ["/var/lib/incus/unix.socket", "/run/incus/unix.socket"],
        }
    }
}

/// How to reach a server, and what of it is used.
#[derive(Debug, Clone, Default)]
pub struct LxdOptions {
    /// Whose it is.
    pub product: Product,
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
    /// On this machine: in `LXD_DIR`, or `INCUS_DIR`, else where its packages put it.
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
    pub(super) fn resolve(product: Product, server: &LxdServer) -> Result<Self, BackendError> {
        match server {
            LxdServer::Socket(path) => Ok(Self::Socket(path.clone())),
            LxdServer::Found => {
                let told = env::var_os(product.directory()).filter(|told| !told.is_empty());
                Ok(Self::Socket(found(product, told.map(PathBuf::from), Path::exists)))
            }
            LxdServer::Remote(remote) => remote_url(&remote.url).map(Self::Url),
        }
    }
}

fn found(product: Product, told: Option<PathBuf>, exists: impl Fn(&Path) -> bool) -> PathBuf {
    if let Some(directory) = told {
        return directory.join("unix.socket");
    }
    let known = product.sockets().map(Path::new);
    known.into_iter().find(|path| exists(path)).unwrap_or(known[0]).to_owned()
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
        let every = [Product::Lxd.sockets(), Product::Incus.sockets()].concat();
        let check = |product, told: Option<&str>, there: &[&str], expected: &str| {
            let exists = |path: &Path| there.iter().any(|known| Path::new(known) == path);
            assert_eq!(found(product, told.map(PathBuf::from), exists), Path::new(expected));
        };
        for product in [Product::Lxd, Product::Incus] {
            let [package, other] = product.sockets();
            check(product, None, &[], package);
            check(product, None, &[other], other);
            check(product, None, &every, package);
            check(product, Some("/srv/there"), &every, "/srv/there/unix.socket");
        }
        // Another's server is not taken for one of its own.
        check(Product::Lxd, None, &Product::Incus.sockets(), "/var/lib/lxd/unix.socket");
        check(Product::Incus, None, &Product::Lxd.sockets(), "/var/lib/incus/unix.socket");
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
