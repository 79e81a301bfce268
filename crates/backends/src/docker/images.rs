//! Images: whether the engine has one, fetching it, and importing the demo's.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bollard::{Docker as Client, query_parameters::CreateImageOptionsBuilder};
use bytes::Bytes;
use dayfly_core::ports::{BackendError, BackendErrorKind};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    credentials,
    error::{is_status, refused, unread},
};
use crate::failure::failure;

/// Words of a registry's refusal that tell that trying later may help; lower case.
const TRY_LATER: [&str; 7] = [
    "timeout",
    "toomanyrequests",
    "connection refused",
    "connection reset",
    "deadline exceeded",
    "temporary failure",
    "unexpected eof",
];

type Pull = Shared<BoxFuture<'static, Result<(), BackendError>>>;

/// Fetches images, each once at a time, whoever asks. A fetch goes on where its asker gave up, so that an image that
/// takes longer than a create may take is there in the end.
#[derive(Debug, Default)]
pub(super) struct Images {
    config_directory: Option<PathBuf>,
    running: Arc<Mutex<BTreeMap<String, Pull>>>,
    tasks: TaskTracker,
}

impl Images {
    pub(super) fn new(config_directory: Option<PathBuf>) -> Self {
        Self { config_directory, ..Self::default() }
    }

    /// Fetches an image from its registry.
    pub(super) async fn pull(&self, client: &Client, image: &str) -> Result<(), BackendError> {
        let pull = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running
                .entry(image.to_owned())
                .or_insert_with(|| self.begin(client.clone(), image.to_owned()))
                .clone()
        };
        pull.await
    }

    fn begin(&self, client: Client, image: String) -> Pull {
        let (answer, answered) = oneshot::channel();
        let operation = format!("fetch image {image}");
        let ended = failure(
            BackendErrorKind::Transient,
            operation.as_str(),
            "the fetch ended without an answer",
        );
        let directory = self.config_directory.clone();
        let running = Arc::clone(&self.running);
        self.tasks.spawn(async move {
            let result = fetch(&client, &image, directory, operation).await;
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&image);
            // Nobody may wait any more.
            let _ = answer.send(result);
        });
        answered.map(move |result| result.unwrap_or(Err(ended))).boxed().shared()
    }

    /// Whether the registry has the image, without fetching it.
    pub(super) async fn is_in_registry(
        &self,
        client: &Client,
        image: &str,
    ) -> Result<(), BackendError> {
        let credentials = credentials::of(image, self.config_directory.as_deref()).await;
        let found = client.inspect_registry_image(image, credentials).await;
        found
            .map(drop)
            .map_err(|error| unread(format!("look up image {image} in its registry"), &error))
    }
}

async fn fetch(
    client: &Client,
    image: &str,
    config_directory: Option<PathBuf>,
    operation: String,
) -> Result<(), BackendError> {
    let credentials = credentials::of(image, config_directory.as_deref()).await;
    let (name, tag) = name_and_tag(image);
    let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
    let mut progress = client.create_image(Some(options), None, credentials);
    while let Some(step) = progress.next().await {
        step.map_err(|error| {
            let mut failed = refused(operation.as_str(), &error);
            let words = failed.detail.to_lowercase();
            if !matches!(failed.kind, BackendErrorKind::NoCapacity | BackendErrorKind::Unreachable)
            {
                let later = TRY_LATER.iter().any(|later| words.contains(later));
                failed.kind = if later {
                    BackendErrorKind::Transient
                } else {
                    BackendErrorKind::ImageMissing
                };
            }
            failed
        })?;
    }
    Ok(())
}

/// The two halves of a reference; without a tag the engine would fetch every tag there is.
fn name_and_tag(image: &str) -> (&str, &str) {
    if image.contains('@') {
        return (image, "");
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// Whether the engine has the image.
pub(super) async fn is_here(client: &Client, image: &str) -> Result<bool, BackendError> {
    match client.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(error) if is_status(&error, 404) => Ok(false),
        Err(error) => Err(unread(format!("look up image {image}"), &error)),
    }
}

/// Makes an image of one layer from a tar archive of its root file system.
pub(super) async fn import(
    client: &Client,
    image: &str,
    tar: Bytes,
    directory: &str,
) -> Result<(), BackendError> {
    let changes = vec![format!("WORKDIR {directory}")];
    // Name and tag in one: Podman 4 does not look at a tag of its own.
    let options =
        CreateImageOptionsBuilder::new().from_src("-").repo(image).changes(changes).build();
    let operation = format!("import image {image}");
    let mut progress = client.create_image(Some(options), Some(bollard::body_full(tar)), None);
    while let Some(step) = progress.next().await {
        step.map_err(|error| refused(operation.as_str(), &error))?;
    }
    if !is_here(client, image).await? {
        let detail = "the engine took it and gave it another name: begin the name with localhost/";
        return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_name_and_a_tag() {
        let check = |image: &str, name: &str, tag: &str| {
            assert_eq!(name_and_tag(image), (name, tag), "{image}");
        };
        check("ubuntu", "ubuntu", "latest");
        check("ubuntu:24.04", "ubuntu", "24.04");
        check("rack1:5000/a", "rack1:5000/a", "latest");
        check("rack1:5000/a:b", "rack1:5000/a", "b");
        check("a@sha256:00", "a@sha256:00", "");
    }
}
