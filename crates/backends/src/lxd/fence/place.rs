//! Networks of our own on a server, behind which a pool's instances lie, each with its access list.
//!
//! LXD 5.0 heeds access lists where a bridge meets the host, and only as the network's own: not those of an instance's
//! interface. The networks that there are belong to others, so that a fence is a network of ours. Nothing that does not
//! bear our tag is touched.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use dayfly_core::{
    model::{ControllerId, Fence},
    ports::{BackendError, BackendErrorKind},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::rules::{Rule, egress, otherwise, subnet};
use crate::{
    failure::failure,
    lxd::{
        client::{Body, Client},
        error::Failed,
        template::KEY_CONTROLLER,
    },
};

/// How long a network that nobody uses stays: the next job's instance may want it.
const UNUSED_TIME: Duration = Duration::from_secs(600);

/// How often the host's addresses are asked for while instances are made: one that it gets is out of reach that much later.
const LOOK_TIME: Duration = Duration::from_secs(60);

/// The longest list of a host's interfaces that is looked at.
const INTERFACES_MAX: usize = 256;

/// Networks that were wanted of late, by name: a look at a server tells nothing of what is about to be made.
#[derive(Debug, Default)]
pub(in crate::lxd) struct Wanted {
    uses: Mutex<BTreeMap<String, Use>>,
    /// Held while one is made: a server that is asked twice at once refuses one of the two.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    wanted_at: Instant,
    /// When it was seen to be as it should.
    right_at: Option<Instant>,
}

impl Wanted {
    /// Notes that it is wanted; whether it need not be looked at.
    fn note(&self, name: &str) -> bool {
        let mut wanted = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Use { wanted_at: Instant::now(), right_at: None };
        let known = wanted.entry(name.to_owned()).or_insert(new);
        known.wanted_at = new.wanted_at;
        known.right_at.is_some_and(|at| at.elapsed() < LOOK_TIME)
    }

    fn note_right(&self, name: &str, at: Option<Instant>) {
        let mut wanted = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = wanted.get_mut(name) {
            known.right_at = at;
        }
    }

    /// Whether nobody wanted it for long. One that is seen for the first time is given as long.
    fn is_past(&self, name: &str) -> bool {
        let mut wanted = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Use { wanted_at: Instant::now(), right_at: None };
        wanted.entry(name.to_owned()).or_insert(new).wanted_at.elapsed() > UNUSED_TIME
    }
}

#[derive(Debug, Deserialize)]
struct Known {
    name: String,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    egress: Vec<Rule>,
    #[serde(default)]
    used_by: Option<Vec<String>>,
}

impl Known {
    fn is_ours(&self, controller: ControllerId) -> bool {
        self.config.get(KEY_CONTROLLER) == Some(&controller.to_string())
    }
}

/// The network of a fence: its name is short enough for an interface.
pub(in crate::lxd) fn name_of(controller: ControllerId, fence: &Fence) -> String {
    let sum = Sha256::digest(format!("{controller} {:?} {:?}", fence.deny, fence.allow));
    sum.iter().take(4).fold("dfly".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Makes a fence's network and its list, unless they are there, and has the list be as it should.
pub(in crate::lxd) async fn ensure(
    client: &Client,
    controller: ControllerId,
    wanted: &Wanted,
    fence: &Fence,
) -> Result<(), BackendError> {
    let name = name_of(controller, fence);
    if wanted.note(&name) {
        return Ok(());
    }
    let _making = wanted.making.lock().await;
    if wanted.note(&name) {
        return Ok(());
    }
    let began_at = Instant::now();
    let operation = format!("make network {name}, which keeps instances from others");
    let told = |failed: Failed| failed.changing(operation.as_str(), &client.address);
    let foreign = || {
        let detail = format!("a network or access list {name} is not this controller's: rename it");
        failure(BackendErrorKind::NotAllowed, operation.as_str(), detail)
    };
    let tag = json!({ KEY_CONTROLLER: controller.to_string() });
    let list = json!({ "name": name, "config": tag, "egress": egress(fence, &[]), "ingress": [] });
    make(client, "/1.0/network-acls", &name, &list).await.map_err(told)?;
    let path = format!("/1.0/networks/{name}");
    let is_there = match client.get::<Known>(&path, &[]).await {
        Ok(_) => true,
        Err(failed) if failed.is_absent() => false,
        Err(failed) => return Err(told(failed)),
    };
    let host = host_addresses(client).await.map_err(told)?;
    let Some(address) = subnet(&name, &host) else {
        let detail = "every network of 10.64.0.0/10 that was tried is in use on the host";
        return Err(failure(BackendErrorKind::NotAllowed, operation.as_str(), detail));
    };
    let config = json!({
        KEY_CONTROLLER: controller.to_string(),
        "ipv4.address": address, "ipv4.nat": "true", "ipv6.address": "none",
        "security.acls": name, "security.acls.default.egress.action": otherwise(fence),
        "security.acls.default.ingress.action": "reject",
    });
    let network = json!({ "name": name, "type": "bridge", "config": config });
    if !is_there {
        make(client, "/1.0/networks", &name, &network).await.map_err(told)?;
    }
    let network: Known = client.get(&path, &[]).await.map_err(told)?;
    let path = format!("/1.0/network-acls/{name}");
    let list: Known = client.get(&path, &[]).await.map_err(told)?;
    if !network.is_ours(controller) || !list.is_ours(controller) {
        return Err(foreign());
    }
    // The network's own address is one of the host's, which may change.
    let rules = egress(fence, &host_addresses(client).await.map_err(told)?);
    if list.egress != rules {
        let body = json!({ "config": list.config, "egress": rules, "ingress": [] });
        let body = Body::json(&body).map_err(told)?;
        client.change(Method::PUT, &path, &[], body).await.map_err(told)?;
    }
    wanted.note_right(&name, Some(began_at));
    Ok(())
}

/// The interfaces that profiles give an instance beside the first one: past the fence.
pub(in crate::lxd) async fn others(
    client: &Client,
    profiles: Option<&[String]>,
) -> Result<Vec<String>, BackendError> {
    let default = ["default".to_owned()];
    let mut others = Vec::new();
    for profile in profiles.unwrap_or(&default) {
        let known: Value =
            client.get(&format!("/1.0/profiles/{profile}"), &[]).await.map_err(|failed| {
                failed.reading(format!("look up profile {profile}"), &client.address)
            })?;
        let devices = known["devices"].as_object().into_iter().flatten();
        let nics = devices.filter(|(name, device)| device["type"] == "nic" && *name != "eth0");
        others.extend(nics.map(|(name, _)| name.clone()));
    }
    Ok(others)
}

/// Makes something, unless it is there.
async fn make(client: &Client, kind: &str, name: &str, what: &Value) -> Result<(), Failed> {
    let made = client.change(Method::POST, kind, &[], Body::json(what)?).await;
    match made {
        // In what words another one that makes the same is told of depends on when.
        Err(Failed::Refused { .. } | Failed::Fell(_))
            if client.get::<Known>(&format!("{kind}/{name}"), &[]).await.is_ok() =>
        {
            Ok(())
        }
        made => made.map(drop),
    }
}

/// Forgets that a fence was seen to be right: what lay behind it could not be made.
pub(in crate::lxd) fn doubt(wanted: &Wanted, controller: ControllerId, fence: &Fence) {
    wanted.note_right(&name_of(controller, fence), None);
}

/// Removes a fence that a controller made which is gone with the caller.
pub(in crate::lxd) async fn remove(
    client: &Client,
    controller: ControllerId,
    fence: &Fence,
) -> Result<(), BackendError> {
    let name = name_of(controller, fence);
    let told = |failed: Failed| failed.changing(format!("remove network {name}"), &client.address);
    for kind in ["networks", "network-acls"] {
        let path = format!("/1.0/{kind}/{name}");
        let known = match client.get::<Known>(&path, &[]).await {
            Err(failed) if failed.is_absent() => continue,
            known => known.map_err(told)?,
        };
        if known.is_ours(controller) {
            match client.change(Method::DELETE, &path, &[], Body::Nothing).await {
                Err(failed) if failed.is_absent() => {}
                removed => removed.map(drop).map_err(told)?,
            }
        }
    }
    Ok(())
}

/// Every address that the host has, as far as the server tells, with the bits that its network shares.
async fn host_addresses(client: &Client) -> Result<Vec<(IpAddr, u32)>, Failed> {
    let interfaces: Vec<Known> = client.get("/1.0/networks", &[("recursion", "1")]).await?;
    let mut addresses = Vec::new();
    // The host's ends of instances' interfaces have none.
    let interfaces: Vec<_> =
        interfaces.iter().filter(|known| !known.name.starts_with("veth")).collect();
    // One that is not looked at would be within reach.
    if interfaces.len() > INTERFACES_MAX {
        return Err(Failed::Fell(format!(
            "the host has {} network interfaces, and no more than {INTERFACES_MAX} are looked at",
            interfaces.len()
        )));
    }
    for interface in interfaces {
        let path = format!("/1.0/networks/{}/state", interface.name);
        let state: Value = match client.get(&path, &[]).await {
            Ok(state) => state,
            // It went meanwhile.
            Err(failed) if failed.is_absent() => continue,
            Err(failed) => return Err(failed),
        };
        let told = state["addresses"].as_array().into_iter().flatten();
        addresses.extend(told.filter_map(|told| {
            let bits = told["netmask"].as_str()?.parse().ok()?;
            Some((told["address"].as_str()?.parse::<IpAddr>().ok()?, bits))
        }));
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Removes the networks of ours that nobody used for long, and their lists.
pub(in crate::lxd) async fn sweep(
    client: &Client,
    controller: ControllerId,
    wanted: &Wanted,
) -> Result<(), BackendError> {
    let told = |failed: Failed| failed.changing("remove unused networks", &client.address);
    for (kind, in_turn) in [("networks", "network"), ("network-acls", "access list")] {
        let path = format!("/1.0/{kind}");
        let listed: Vec<Known> = client.get(&path, &[("recursion", "1")]).await.map_err(told)?;
        for known in listed {
            let used = known.used_by.as_ref().is_some_and(|used| !used.is_empty());
            if used || !known.is_ours(controller) || !wanted.is_past(&known.name) {
                continue;
            }
            let path = format!("/1.0/{kind}/{}", known.name);
            // Whoever wants it from now on makes it anew.
            wanted.note_right(&known.name, None);
            match client.change(Method::DELETE, &path, &[], Body::Nothing).await {
                Ok(_) => tracing::info!(
                    name = known.name,
                    kind = in_turn,
                    "one of ours that nobody used was removed"
                ),
                Err(failed) if failed.is_absent() => {}
                Err(failed) => return Err(told(failed)),
            }
        }
    }
    Ok(())
}
