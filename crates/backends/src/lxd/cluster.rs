//! Members of a cluster: which of them a backend has, and whether one is away.

use std::collections::BTreeSet;

use dayfly_core::ports::{BackendError, BackendErrorKind};
use serde::Deserialize;

use super::{client::Client, error::Failed};
use crate::failure::failure;

/// What begins the name of a group of members.
const GROUP: char = '@';

/// `GET /1.0/cluster/members/NAME`.
#[derive(Debug, Deserialize)]
struct Member {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
}

/// `GET /1.0/cluster/groups/NAME`.
#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    members: BTreeSet<String>,
}

/// The members whose instances are a backend's; `None`: whatever the server has.
pub(super) async fn members(client: &Client) -> Result<Option<BTreeSet<String>>, BackendError> {
    let Some(target) = client.target() else { return Ok(None) };
    let Some(group) = target.strip_prefix(GROUP) else {
        return Ok(Some(BTreeSet::from([target.to_owned()])));
    };
    let group: Group = client
        .get(&format!("/1.0/cluster/groups/{group}"), &[])
        .await
        .map_err(|failed| failed.reading(format!("look up {target}"), &client.address))?;
    Ok(Some(group.members))
}

/// The one member that a backend has.
pub(super) fn member(client: &Client) -> Option<&str> {
    client.target().filter(|target| !target.starts_with(GROUP))
}

/// Asks whether the one member that a backend has is there; a backend without one has nothing to ask.
///
/// # Errors
/// Where it is away, or was never there.
pub(super) async fn reach(client: &Client) -> Result<(), BackendError> {
    let Some(name) = member(client) else { return Ok(()) };
    let operation = format!("look up member {name} of the cluster");
    let member: Member = match client.get(&format!("/1.0/cluster/members/{name}"), &[]).await {
        Ok(member) => member,
        // Not everybody may ask.
        Err(Failed::Refused { status: 403, .. }) => return Ok(()),
        Err(failed) => return Err(failed.reading(operation, &client.address)),
    };
    if member.status == "Offline" {
        let detail = format!("it is offline: {}", member.message);
        return Err(failure(BackendErrorKind::Unreachable, operation, detail));
    }
    Ok(())
}
