//! How much a server has.

use dayfly_core::{
    model::Capacity,
    ports::{BackendError, BackendErrorKind},
};
use serde::Deserialize;

use super::{client::Client, cluster};
use crate::failure::failure;

const OPERATION: &str = "ask the server how much it has";

#[derive(Debug, Deserialize)]
struct Server {
    environment: Environment,
}

#[derive(Debug, Deserialize)]
struct Environment {
    #[serde(default)]
    server_clustered: bool,
}

/// `GET /1.0/resources`, of which LXD's REST description tells more.
#[derive(Debug, Deserialize)]
struct Resources {
    cpu: Cpus,
    memory: Memory,
}

#[derive(Debug, Deserialize)]
struct Cpus {
    /// Threads.
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Memory {
    /// Bytes.
    total: u64,
}

/// What the server has, or the member of a cluster that instances are made on.
pub(super) async fn capacity(client: &Client) -> Result<Capacity, BackendError> {
    let failed = |error: super::error::Failed| error.reading(OPERATION, &client.address);
    let query: Vec<_> =
        cluster::member(client).map(|target| ("target", target)).into_iter().collect();
    if query.is_empty() {
        let server: Server = client.get("/1.0", &[]).await.map_err(failed)?;
        if server.environment.server_clustered {
            let detail = "a cluster chooses the member itself, and each has its own: write the budget as numbers, or name \
                          one member as the `target` of the backend";
            return Err(failure(BackendErrorKind::NotAllowed, OPERATION, detail));
        }
    }
    let resources: Resources = client.get("/1.0/resources", &query).await.map_err(failed)?;
    Ok(Capacity {
        cpu_millis: resources.cpu.total.saturating_mul(1_000),
        memory_bytes: resources.memory.total,
    })
}
