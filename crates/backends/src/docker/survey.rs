//! Whose containers there are: asked where a controller's id is lost with its store.

use std::collections::{BTreeMap, HashMap};

use bollard::{Docker as Client, query_parameters::ListContainersOptionsBuilder};
use dayfly_core::{model::ControllerId, ports::BackendError};

use super::{error::unread, template::LABEL_CONTROLLER};

/// Every controller that has containers, and how many.
pub(super) async fn controllers(
    client: &Client,
) -> Result<BTreeMap<ControllerId, usize>, BackendError> {
    let filters = HashMap::from([("label", vec![LABEL_CONTROLLER])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let containers = client
        .list_containers(Some(options))
        .await
        .map_err(|error| unread("list containers", &error))?;
    let mut counts = BTreeMap::new();
    for container in containers {
        let labels = container.labels.unwrap_or_default();
        let Some(text) = labels.get(LABEL_CONTROLLER) else { continue };
        match text.parse() {
            Ok(id) => *counts.entry(ControllerId(id)).or_insert(0) += 1,
            Err(_) => tracing::warn!(
                container = container.id,
                label = text.chars().take(80).collect::<String>(),
                "a container bears a controller's label that is no id: left"
            ),
        }
    }
    Ok(counts)
}
