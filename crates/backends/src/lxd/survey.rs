//! Whose instances there are: asked where a controller's id is lost with its store.

use std::collections::BTreeMap;

use dayfly_core::{model::ControllerId, ports::BackendError};

use super::{client::Client, template::KEY_CONTROLLER, wire::Instance};

/// Every controller that has instances on the server, and how many.
pub(super) async fn controllers(
    client: &Client,
) -> Result<BTreeMap<ControllerId, usize>, BackendError> {
    let instances: Vec<Instance> = client
        .get("/1.0/instances", &[("recursion", "1")])
        .await
        .map_err(|failed| failed.reading("list instances", &client.address))?;
    let mut counts = BTreeMap::new();
    for instance in instances {
        let Some(text) = instance.config.get(KEY_CONTROLLER) else { continue };
        match text.parse() {
            Ok(id) => *counts.entry(ControllerId(id)).or_insert(0) += 1,
            Err(_) => tracing::warn!(
                instance = instance.name,
                tag = text.chars().take(80).collect::<String>(),
                "an instance bears a controller's tag that is no id: left"
            ),
        }
    }
    Ok(counts)
}
