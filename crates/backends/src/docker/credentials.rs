//! Passwords for registries, from where `docker login` keeps them. Never logged, never in an error.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::contexts::read_json;

/// The name under which `docker login` keeps the password of Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Host names that mean Docker Hub in an image reference
/// (<https://github.com/distribution/reference>, `splitDockerDomain`).
const DOCKER_HUB_HOSTS: [&str; 2] = ["docker.io", "index.docker.io"];

/// How long a credential helper may take: it may ask a service of its own.
const HELPER_TIME_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What a credential helper answers (<https://github.com/docker/docker-credential-helpers>).
#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The registry of an image reference: its first part where that is a host name other than Docker Hub's.
pub(super) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if DOCKER_HUB_HOSTS.contains(&first) => DOCKER_HUB,
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DOCKER_HUB,
    }
}

/// The password for an image's registry; `None` where there is none, or where it can't be read, which is logged.
pub(super) async fn of(image: &str, config_directory: Option<&Path>) -> Option<DockerCredentials> {
    let registry = registry(image);
    let file = config_directory?.join("config.json");
    if !file.is_file() {
        return None;
    }
    let found = match read_json::<Config>(&file) {
        Ok(config) => look_up(registry, &config).await,
        Err(error) => Err(error),
    };
    found.unwrap_or_else(|error| {
        tracing::warn!(
            registry,
            error,
            "the registry's password can't be read; the image is fetched without it"
        );
        None
    })
}

async fn look_up(registry: &str, config: &Config) -> Result<Option<DockerCredentials>, String> {
    if let Some(helper) = config.helpers.get(registry).or(config.store.as_ref()) {
        return ask_helper(helper, registry).await;
    }
    let same = |name: &String| {
        let host = name.trim_start_matches("https://").trim_end_matches('/');
        // `podman login` writes Docker Hub's entry under its host name.
        host == registry || registry == DOCKER_HUB && DOCKER_HUB_HOSTS.contains(&host)
    };
    let Some(auth) = config
        .auths
        .get(registry)
        .or_else(|| config.auths.iter().find(|(name, _)| same(name)).map(|(_, auth)| auth))
    else {
        return Ok(None);
    };
    if let Some(token) = auth.identitytoken.clone().filter(|token| !token.is_empty()) {
        return Ok(Some(with_token(registry, token)));
    }
    let Some(encoded) = &auth.auth else { return Ok(None) };
    let decoded =
        BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or("its entry in config.json is not base64")?;
    let (username, password) =
        decoded.split_once(':').ok_or("its entry in config.json is not `user:password`")?;
    Ok(Some(with_password(
        registry,
        username.to_owned(),
        password.trim_end_matches('\0').to_owned(),
    )))
}

async fn ask_helper(helper: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err("config.json names a credential helper that is no program's name".to_owned());
    }
    let program = format!("docker-credential-{helper}");
    let failed = |what: &str| format!("{program}: {what}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let mut input = child.stdin.take().ok_or_else(|| failed("takes no input"))?;
    let ask = async {
        input.write_all(registry.as_bytes()).await?;
        drop(input);
        child.wait_with_output().await
    };
    let output = timeout(HELPER_TIME_MAX, ask)
        .await
        .map_err(|_| failed("did not answer in time"))?
        .map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        // It says so where it knows no password for this registry, which is no failure.
        let words = String::from_utf8_lossy(&output.stdout);
        return if words.contains("credentials not found") {
            Ok(None)
        } else {
            Err(failed("failed"))
        };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("gave no answer of its kind"))?;
    Ok(Some(if answer.username == "<token>" {
        with_token(registry, answer.secret)
    } else {
        with_password(registry, answer.username, answer.secret)
    }))
}

fn with_password(registry: &str, username: String, password: String) -> DockerCredentials {
    DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }
}

fn with_token(registry: &str, token: String) -> DockerCredentials {
    DockerCredentials {
        identitytoken: Some(token),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_its_registry() {
        let check = |image: &str, expected: &str| assert_eq!(registry(image), expected, "{image}");
        check("ubuntu", DOCKER_HUB);
        check("actions/runner:latest", DOCKER_HUB);
        check("docker.io/acme/runner:1", DOCKER_HUB);
        check("index.docker.io/acme/runner", DOCKER_HUB);
        check("docker.io.example/acme/runner", "docker.io.example");
        check("ghcr.io/actions/actions-runner:latest", "ghcr.io");
        check("localhost/a", "localhost");
        check("rack1:5000/a@sha256:00", "rack1:5000");
    }

    async fn check(config: &str, image: &str, expected: Option<(Option<&str>, &str)>) {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.json"), config).unwrap();
        let found = of(image, Some(home.path())).await;
        let found = found.as_ref().map(|found| {
            let secret = found.password.as_deref().or(found.identitytoken.as_deref()).unwrap();
            (found.username.as_deref(), secret)
        });
        assert_eq!(found, expected, "{image} by {config}");
    }

    #[tokio::test]
    async fn passwords_are_found_where_docker_login_keeps_them() {
        let auth = BASE64_STANDARD.encode("me:pa:ss");
        let config = format!(
            r#"{{"auths":{{"ghcr.io":{{"auth":"{auth}"}},"https://quay.io/":{{"auth":"{auth}"}}}}}}"#
        );
        check(&config, "ghcr.io/a/b", Some((Some("me"), "pa:ss"))).await;
        check(&config, "quay.io/a/b", Some((Some("me"), "pa:ss"))).await;
        check(&config, "ubuntu", None).await;
        check(r#"{"auths":{"ghcr.io":{"identitytoken":"t"}}}"#, "ghcr.io/a/b", Some((None, "t")))
            .await;
        check(r#"{"auths":{"ghcr.io":{"auth":"%"}}}"#, "ghcr.io/a/b", None).await;
        check(r#"{"auths":{"ghcr.io":{}}}"#, "ghcr.io/a/b", None).await;
        check("{", "ghcr.io/a/b", None).await;
        for name in [DOCKER_HUB, "docker.io", "https://index.docker.io"] {
            let config = format!(r#"{{"auths":{{"{name}":{{"auth":"{auth}"}}}}}}"#);
            for image in ["acme/runner:1", "docker.io/acme/runner:1", "index.docker.io/acme/runner"]
            {
                check(&config, image, Some((Some("me"), "pa:ss"))).await;
            }
            check(&config, "ghcr.io/a/b", None).await;
        }
        check(r#"{"credHelpers":{"ghcr.io":"../../bin/sh"}}"#, "ghcr.io/a/b", None).await;
        check(r#"{"credsStore":"dayfly-none"}"#, "ghcr.io/a/b", None).await;
    }
}
