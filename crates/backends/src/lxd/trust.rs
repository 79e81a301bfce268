//! Having a remote server trust our certificate, by a token that its owner made: `lxc config trust add`, or
//! `incus config trust add`.
//!
//! The token says which certificate the server has. Nothing is sent, the token least of all, to one that shows another.

use base64::{Engine, engine::general_purpose::STANDARD};
use dayfly_core::ports::{BackendError, BackendErrorKind};
use reqwest::{Method, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    address::{Address, LxdOptions, LxdRemote, LxdServer, Product},
    client::{Body, CONNECT_TIME, Client},
    error::chain,
    tls,
};
use crate::failure::failure;

const OPERATION: &str = "have the server trust dayfly's certificate";

/// The longest token that is read. LXD's has some four hundred bytes, and a few for each of the server's addresses.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// What a token says, beside what only its server reads.
#[derive(Deserialize)]
struct Token {
    /// The server's certificate: SHA-256 of its DER form, as hexadecimal digits.
    fingerprint: String,
    /// Set by servers that take such a token at another place only.
    #[serde(default, rename = "type")]
    kind: String,
}

/// Has a server trust our certificate, unless it does, and gives its own certificate in PEM form. The server must be a
/// remote one; where its certificate is known already, it has to be that of the token.
///
/// # Errors
/// Where the token is none, or of another server, or the server can't be reached or refuses.
pub async fn trust(options: &LxdOptions, token: &SecretString) -> Result<String, BackendError> {
    let LxdServer::Remote(remote) = &options.server else {
        return Err(refused("a server that is reached by its socket needs no certificate"));
    };
    let sha256 = fingerprint(token)?;
    let certificate = shown(remote, sha256).await?;
    if let Some(known) = &remote.server_certificate
        && tls::certificate(known)? != tls::certificate(&certificate)?
    {
        return Err(refused(
            "the token's server has another certificate than `server_cert`: where the server was made anew, remove that file",
        ));
    }
    let pinned = LxdRemote { server_certificate: Some(certificate.clone()), ..remote.clone() };
    let options = LxdOptions { server: LxdServer::Remote(pinned), ..options.clone() };
    let client = Client::new(&options)?;
    let server = ask(&client).await?;
    if server["auth"] != "trusted" {
        add(&client, &server, token).await?;
        if ask(&client).await?["auth"] != "trusted" {
            return Err(refused("the server took the certificate, and does not trust it"));
        }
    }
    Ok(certificate)
}

fn refused(detail: &str) -> BackendError {
    failure(BackendErrorKind::NotAllowed, OPERATION, detail)
}

async fn ask(client: &Client) -> Result<Value, BackendError> {
    let server = client.get("/1.0", &[]).await;
    server.map_err(|failed| failed.reading(OPERATION, &client.address))
}

async fn add(client: &Client, server: &Value, token: &SecretString) -> Result<(), BackendError> {
    let has = |extension: &str| {
        server["api_extensions"].as_array().into_iter().flatten().any(|known| known == extension)
    };
    // Before it had a word of its own, LXD took a token for a password. Incus never did, and does not say so in a word: it
    // is known by another one's name (`internal/version/api.go`); whose server it is, it tells only to those it trusts.
    let has_a_word = has("explicit_trust_token") || has("restrict_dev_incus");
    let word = if has_a_word { "trust_token" } else { "password" };
    let token = token.expose_secret().trim();
    let body = Body::json(&json!({ "type": "client", word: token }));
    let added = match body {
        Ok(body) => client.change(Method::POST, "/1.0/certificates", &[], body).await,
        Err(failed) => Err(failed),
    };
    added.map(drop).map_err(|failed| {
        let mut error = failed.changing(OPERATION, &client.address);
        error.detail = format!(
            "{}; a token serves once, and not for ever: make another one by `lxc config trust add`, or `incus config trust add`",
            error.detail.replace(token, "(the token)")
        );
        error
    })
}

/// The fingerprint in a token. What is wrong with one is said without its words.
fn fingerprint(token: &SecretString) -> Result<[u8; 32], BackendError> {
    let none =
        || refused("this is no token of `lxc config trust add`, or of `incus config trust add`");
    let text = token.expose_secret().trim();
    if text.len() > TOKEN_BYTES_MAX {
        return Err(none());
    }
    let plain = STANDARD.decode(text).map_err(|_| none())?;
    let token: Token = serde_json::from_slice(&plain).map_err(|_| none())?;
    if !token.kind.is_empty() {
        return Err(refused(
            "this token is for `lxc auth identity`: make one by `lxc config trust add`",
        ));
    }
    digest(&token.fingerprint).ok_or_else(none)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// The certificate that the server shows, in PEM form, where it is the one of the fingerprint.
async fn shown(remote: &LxdRemote, sha256: [u8; 32]) -> Result<String, BackendError> {
    let server = LxdServer::Remote(remote.clone());
    let Address::Url(url) = Address::resolve(Product::default(), &server)? else {
        return Err(refused("the server has no address"));
    };
    let (config, seen) = tls::by_fingerprint(sha256, remote)?;
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIME)
        .timeout(CONNECT_TIME * 3)
        .redirect(Policy::none())
        .no_proxy()
        .https_only(true)
        .tls_backend_preconfigured(config)
        .build()
        .map_err(|error| tls::unusable("the connection", &chain(&error)))?;
    // What it answers is asked again once its certificate is known.
    client.get(url.clone()).send().await.map_err(|error| {
        let detail = format!(
            "{}: {}; it must show the certificate that the token names",
            url.as_str().trim_end_matches('/'),
            chain(&error.without_url())
        );
        failure(BackendErrorKind::Unreachable, OPERATION, detail)
    })?;
    let certificate = seen.get().ok_or_else(|| refused("the server showed no certificate"))?;
    Ok(pem(certificate))
}

/// A certificate as LXD writes it.
fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        pem.extend([line, "\n"]);
        rest = more;
    }
    if !rest.is_empty() {
        pem.extend([rest, "\n"]);
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_or_refused_without_its_words() {
        let check = |text: &str, expected: Result<[u8; 32], &str>| {
            let read = fingerprint(&text.to_owned().into());
            match (&read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(*read, expected),
                (Err(error), Err(words)) => {
                    let told = format!("{error} {error:?}");
                    assert!(told.contains(words) && !told.contains("c2Vj"), "{told}");
                }
                _ => panic!("{text}: {read:?}"),
            }
        };
        let token = |text: &str| STANDARD.encode(text);
        let good =
            format!(r#"{{"client_name":"a","fingerprint":"{}","secret":"s"}}"#, "0a".repeat(32));
        check(&token(&good), Ok([10; 32]));
        check(&format!(" {}\n", token(&good)), Ok([10; 32]));
        check(&token(&good.replace("0a", "+a")), Err("no token"));
        check(&token(&good.replace("0a0a", "0a")), Err("no token"));
        check(&token(&good.replace("client_name", "type")), Err("auth identity"));
        check(&token(r#"{"secret":"c2Vj"}"#), Err("no token"));
        check("c2VjcmV0", Err("no token"));
        check("not base64!", Err("no token"));
        check("", Err("no token"));
        check(&"A".repeat(TOKEN_BYTES_MAX + 4), Err("no token"));
    }

    #[test]
    fn a_certificate_is_written_as_it_is_read() {
        for length in [1, 47, 48, 49, 96, 500] {
            let der = vec![7; length];
            let text = pem(&der);
            assert_eq!(tls::certificate(&text).unwrap().as_ref(), der, "{text}");
        }
    }
}
