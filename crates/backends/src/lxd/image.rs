//! An image in the words of a pool, and in the server's.

use dayfly_core::ports::{BackendError, BackendErrorKind};

use super::{address::Product, wire::Source};
use crate::failure::failure;

/// The servers of Ubuntu's images that `lxc` knows by name. `incus` knows none of them, and takes their images.
const REMOTES: [(&str, &str); 2] = [
    ("ubuntu", "https://cloud-images.ubuntu.com/releases"),
    ("ubuntu-daily", "https://cloud-images.ubuntu.com/daily"),
];

/// The server of everybody's images: Canonical's for LXD, that of Linux Containers for Incus
/// (`shared/cliconfig/default.go`). Neither product's images are the other's.
const fn images_of(product: Product) -> &'static str {
    match product {
        Product::Lxd => "https://images.lxd.canonical.com",
        Product::Incus => "https://images.linuxcontainers.org",
    }
}

/// Reads an alias or a fingerprint of the server's own, `REMOTE:ALIAS` of a server that is known by name,
/// `https://…#ALIAS` of any server of images (simplestreams), or `lxd+https://…#ALIAS` and `incus+https://…#ALIAS` of
/// another server's public images.
pub(super) fn source(product: Product, image: &str) -> Result<Source, BackendError> {
    let wrong = |detail: &str| {
        failure(BackendErrorKind::NotAllowed, format!("read image `{image}`"), detail)
    };
    if let Some((server, name)) = image.split_once('#') {
        let (server, protocol) = match server.split_once('+') {
            Some(("lxd", server)) => (server, "lxd"),
            Some(("incus", server)) => (server, "incus"),
            _ => (server, "simplestreams"),
        };
        if !server.starts_with("https://") || name.is_empty() {
            return Err(wrong(
                "write https://SERVER#ALIAS, or lxd+https://SERVER:8443#ALIAS, or incus+https://SERVER:8443#ALIAS",
            ));
        }
        return Ok(remote(server, protocol, name));
    }
    if image.contains("://") {
        return Err(wrong("say which image of that server: https://SERVER#ALIAS"));
    }
    match image.split_once(':') {
        None => Ok(named(image)),
        Some((known, name)) if !name.is_empty() => {
            let mut remotes = REMOTES.into_iter().chain([("images", images_of(product))]);
            let (_, server) = remotes.find(|(remote, _)| *remote == known).ok_or_else(|| {
                wrong("dayfly knows the remotes ubuntu, ubuntu-daily and images; of another server write https://SERVER#ALIAS")
            })?;
            Ok(remote(server, "simplestreams", name))
        }
        Some(_) => Err(wrong("say which image of that remote: REMOTE:ALIAS")),
    }
}

fn remote(server: &str, protocol: &'static str, name: &str) -> Source {
    Source {
        server: Some(server.to_owned()),
        protocol: Some(protocol),
        mode: Some("pull"),
        ..named(name)
    }
}

/// A fingerprint is at least twelve hexadecimal digits, as `lxc image list` shows them; anything else is an alias.
fn named(name: &str) -> Source {
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_fingerprint = (12..=64).contains(&name.len()) && name.bytes().all(hexadecimal);
    let name = Some(name.to_owned());
    let (alias, fingerprint) = if is_fingerprint { (None, name) } else { (name, None) };
    Source { kind: "image", alias, fingerprint, ..Source::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_or_refused_with_a_remedy() {
        let of = |product: Product, image: &str, expected: Result<&str, &str>| match (
            source(product, image),
            expected,
        ) {
            (Ok(read), Ok(expected)) => {
                assert_eq!(serde_json::to_string(&read).unwrap(), expected, "{image}");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (read, expected) => panic!("{image}: {read:?}, not {expected:?}"),
        };
        let check = |image: &str, expected: Result<&str, &str>| {
            for product in [Product::Lxd, Product::Incus] {
                of(product, image, expected);
            }
        };
        for (product, server) in [
            (Product::Lxd, "https://images.lxd.canonical.com"),
            (Product::Incus, "https://images.linuxcontainers.org"),
        ] {
            let expected = format!(
                r#"{{"type":"image","alias":"debian/12","server":"{server}","protocol":"simplestreams","mode":"pull"}}"#
            );
            of(product, "images:debian/12", Ok(&expected));
        }
        check(
            "incus+https://rack2:8443#runner",
            Ok(
                r#"{"type":"image","alias":"runner","server":"https://rack2:8443","protocol":"incus","mode":"pull"}"#,
            ),
        );
        check("nothing+https://rack2:8443#runner", Err("https://"));
        check("runner", Ok(r#"{"type":"image","alias":"runner"}"#));
        check("ubuntu/24.04", Ok(r#"{"type":"image","alias":"ubuntu/24.04"}"#));
        check("abcdef", Ok(r#"{"type":"image","alias":"abcdef"}"#));
        check("f5dbb238c0e0", Ok(r#"{"type":"image","fingerprint":"f5dbb238c0e0"}"#));
        check(
            "ubuntu:24.04",
            Ok(
                r#"{"type":"image","alias":"24.04","server":"https://cloud-images.ubuntu.com/releases","protocol":"simplestreams","mode":"pull"}"#,
            ),
        );
        check(
            "https://images.example#debian/12",
            Ok(
                r#"{"type":"image","alias":"debian/12","server":"https://images.example","protocol":"simplestreams","mode":"pull"}"#,
            ),
        );
        check(
            "lxd+https://rack2:8443#runner",
            Ok(
                r#"{"type":"image","alias":"runner","server":"https://rack2:8443","protocol":"lxd","mode":"pull"}"#,
            ),
        );
        check("mine:runner", Err("https://SERVER#ALIAS"));
        check("ubuntu:", Err("REMOTE:ALIAS"));
        check("http://images.example#a", Err("https://"));
        check("https://images.example", Err("which image"));
        check("https://images.example#", Err("ALIAS"));
    }
}
