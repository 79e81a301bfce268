//! Trying an engine for real: whether it answers, and whether it makes and starts a pool's container.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker as Client,
    query_parameters::{
        CreateContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
        WaitContainerOptions,
    },
};
use dayfly_core::{
    model::{InstanceSpec, PullPolicy},
    ports::{BackendError, Finding},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{
    connection::Connection,
    error::{refused, unread},
    images::{self, Images},
    records, template,
};

/// The exit code of `check` for a backend that can't be used.
const EXIT_BACKEND: u8 = 5;

/// Looks for the pool's command where the waiter would start it.
const TRIAL: &str =
    r#"command -v "$1" >/dev/null || { echo "the image has no $1 in $(pwd)"; exit 127; }"#;

/// How long the trial may run once it started.
const TRIAL_TIME_MAX: Duration = Duration::from_secs(30);

pub(super) async fn check(
    connection: &Connection,
    images: &Images,
    spec: &InstanceSpec,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let client = match reach(connection).await {
        Ok((client, words)) => {
            findings.push(finding("reach the engine", Ok(words)));
            client
        }
        Err(error) => {
            findings.push(finding("reach the engine", Err(error.to_string())));
            return findings;
        }
    };
    let image = image(&client, images, spec).await;
    let is_here = matches!(image, Ok(true));
    findings.push(finding(
        format!("image {}", spec.image),
        image.map(image_words).map_err(|error| error.to_string()),
    ));
    findings.extend(
        risks(spec).into_iter().map(|risk| finding("what jobs may do to the host", Ok(risk))),
    );
    if is_here {
        findings
            .push(finding("make and start a container of the pool", trial(&client, spec).await));
    }
    findings
}

fn finding(what: impl Into<String>, result: Result<String, String>) -> Finding {
    Finding { what: what.into(), result, exit_code: EXIT_BACKEND }
}

async fn reach(connection: &Connection) -> Result<(Client, String), BackendError> {
    let client = connection.client().await?;
    let version = client.version().await.map_err(|error| unread("ask for the version", &error))?;
    let words = format!(
        "version {} at {}, API {}",
        version.version.unwrap_or_default(),
        connection.endpoint,
        client.client_version()
    );
    Ok((client, words))
}

/// Whether the engine has the image; an error where it neither has nor could fetch it.
async fn image(
    client: &Client,
    images: &Images,
    spec: &InstanceSpec,
) -> Result<bool, BackendError> {
    let is_here = images::is_here(client, &spec.image).await?;
    match spec.pull {
        PullPolicy::Never if !is_here => {
            let detail = "the engine does not have it, and `pull: never` forbids fetching it: load it, or change `pull`";
            let kind = dayfly_core::ports::BackendErrorKind::ImageMissing;
            Err(crate::failure::failure(kind, format!("look up image {}", spec.image), detail))
        }
        PullPolicy::Missing if !is_here => {
            images.is_in_registry(client, &spec.image).await.map(|()| false)
        }
        PullPolicy::Always => images.is_in_registry(client, &spec.image).await.map(|()| is_here),
        PullPolicy::Missing | PullPolicy::Never => Ok(true),
    }
}

fn image_words(is_here: bool) -> String {
    let words = if is_here {
        "the engine has it"
    } else {
        "its registry has it; the first create fetches it"
    };
    words.to_owned()
}

/// What a pool's settings let its jobs do to the host, in words.
fn risks(spec: &InstanceSpec) -> Vec<String> {
    let mut risks = Vec::new();
    if spec.privileged {
        risks.push("privileged: every job can take over the host".to_owned());
    }
    if spec.mounts.iter().any(|mount| mount.source.ends_with("docker.sock")) {
        risks.push(
            "the engine's socket is mounted: every job can take over the host, and dayfly with it"
                .to_owned(),
        );
    }
    if spec.network.as_deref() == Some("host") {
        risks.push(
            "network host: every job reaches what listens on the host's own addresses".to_owned(),
        );
    }
    risks
}

/// Makes, starts and removes a container like the pool's, which looks for the pool's command and ends.
async fn trial(client: &Client, spec: &InstanceSpec) -> Result<String, String> {
    let labels = HashMap::from([("dev.dayfly.check".to_owned(), String::new())]);
    let body = template::container(spec, TRIAL, labels).map_err(|error| error.to_string())?;
    let made = client
        .create_container(None::<CreateContainerOptions>, body)
        .await
        .map_err(|error| refused("create a container", &error).to_string())?;
    let result = run(client, &made.id).await;
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removed = client.remove_container(&made.id, Some(options)).await;
    removed
        .map_err(|error| refused(format!("remove container {}", made.id), &error).to_string())?;
    result
}

async fn run(client: &Client, id: &str) -> Result<String, String> {
    let started = client.start_container(id, None::<StartContainerOptions>).await;
    started.map_err(|error| refused("start a container", &error).to_string())?;
    let ended =
        timeout(TRIAL_TIME_MAX, client.wait_container(id, None::<WaitContainerOptions>).next())
            .await;
    if ended.is_err() {
        return Err("the container started and did not end in time".to_owned());
    }
    match records::exit(client, id).await.map_err(|error| error.to_string())? {
        Some(exit) if exit.code == Some(0) => {
            Ok("it started and found the pool's command".to_owned())
        }
        Some(exit) => Err(format!(
            "{exit}; `command` and the image's working directory say where the runner is"
        )),
        None => Err("the container vanished".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use dayfly_core::model::Mount;

    use super::*;

    #[test]
    fn risks_are_told() {
        assert!(risks(&InstanceSpec::default()).is_empty());
        let socket = "/var/run/docker.sock".to_owned();
        let spec = InstanceSpec {
            privileged: true,
            network: Some("host".to_owned()),
            mounts: vec![Mount { source: socket.clone(), target: socket, read_only: true }],
            ..InstanceSpec::default()
        };
        assert_eq!(risks(&spec).len(), 3);
    }
}
