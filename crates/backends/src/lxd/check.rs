//! Trying a server for real: whether it answers, and whether it makes, starts and ends a pool's instance.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use dayfly_core::{
    model::{ControllerId, Fence, InstanceSpec, LxdKind, PoolName, RunnerName, Suffix},
    ports::{BackendError, CreateRequest, Finding, InstanceStatus, JitConfig},
};
use serde_json::Value;

use super::{client::Client, cluster, create, destroy, fence, hand_over, records};

/// The exit code of `check` for a backend that can't be used.
const EXIT_BACKEND: u8 = 5;

/// How long the trial instance may take to end itself, and how often it is looked at.
const END_LOOKS_MAX: u32 = 150;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

pub(super) async fn check(
    client: &Client,
    controller: ControllerId,
    spec: &InstanceSpec,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reached = reach(client).await;
    let is_there = reached.is_ok();
    findings.push(finding("reach the server", reached));
    if !is_there {
        return findings;
    }
    findings.extend(
        risks(spec).into_iter().map(|risk| finding("what jobs may do to the host", Ok(risk))),
    );
    if let Some(fence) = spec.lxd.as_ref().and_then(|lxd| lxd.fence.as_ref()) {
        findings.push(finding("what jobs may reach", Ok(reaches(controller, fence))));
    }
    findings.push(finding("the storage of instances", storage(client, spec).await));
    findings.push(finding(
        "make, start and end an instance of the pool",
        trial(client, controller, spec).await,
    ));
    findings
}

fn finding(what: impl Into<String>, result: Result<String, String>) -> Finding {
    Finding { what: what.into(), result, exit_code: EXIT_BACKEND }
}

async fn reach(client: &Client) -> Result<String, String> {
    let server: Value = client
        .get("/1.0", &[])
        .await
        .map_err(|failed| failed.reading("ask for the version", &client.address).to_string())?;
    let text = |name: &str| server["environment"][name].as_str().unwrap_or("?").to_owned();
    if server["auth"] != "trusted" {
        return Err(format!(
            "{} does not trust dayfly's certificate: run `lxc config trust add`, or `incus config trust add`, there",
            client.address
        ));
    }
    cluster::reach(client).await.map_err(|error| error.to_string())?;
    let members = cluster::members(client).await.map_err(|error| error.to_string())?;
    let mut words = format!("{} {} at {}", text("server"), text("server_version"), client.address);
    if let Some(members) = members {
        let members: Vec<String> = members.into_iter().collect();
        words.push_str(&format!("; instances are made on {} of its cluster", members.join(", ")));
    }
    Ok(words)
}

/// What a pool's settings let its jobs do to the host, in words.
fn risks(spec: &InstanceSpec) -> Vec<String> {
    let mut risks = Vec::new();
    if spec.privileged {
        risks.push("privileged: every job can take over the host".to_owned());
    }
    if spec.lxd.as_ref().is_some_and(|lxd| lxd.nesting) {
        risks.push(
            "nesting: jobs reach more of the host's kernel; not for those that are not trusted"
                .to_owned(),
        );
    }
    risks
}

/// What a pool's lists let its jobs reach, in words.
fn reaches(controller: ControllerId, fence: &Fence) -> String {
    let network = fence::name_of(controller, fence);
    let [deny, allow] = [&fence.deny, &fence.allow].map(|networks| networks.join(", "));
    let reached = match (deny.as_str(), allow.as_str()) {
        ("", "") => "everything but the host and each other".to_owned(),
        ("", allow) => format!("{allow}, and nothing else"),
        (deny, "") => format!("everything but {deny}, the host and each other"),
        (deny, allow) => {
            format!("everything but {deny}, the host and each other; of these networks {allow}")
        }
    };
    format!("{reached}, by a network of dayfly's own, {network}")
}

/// What the pool's storage says about the time that each instance takes.
async fn storage(client: &Client, spec: &InstanceSpec) -> Result<String, String> {
    let told = |failed: super::error::Failed, what: String| {
        failed.reading(what, &client.address).to_string()
    };
    let lxd = spec.lxd.clone().unwrap_or_default();
    let mut name = lxd.storage;
    for profile in lxd.profiles.unwrap_or_else(|| vec!["default".to_owned()]) {
        let profile: Value = client
            .get(&format!("/1.0/profiles/{profile}"), &[])
            .await
            .map_err(|failed| told(failed, format!("look up profile {profile}")))?;
        let devices = profile["devices"].as_object().into_iter().flatten();
        let mut roots = devices.filter(|(_, device)| device["path"] == "/");
        let root = roots.find_map(|(_, device)| device["pool"].as_str());
        name = name.or_else(|| root.map(str::to_owned));
    }
    let Some(name) = name else {
        return Err("no profile of the pool has a root disk: set `storage`".to_owned());
    };
    let pool: Value = match client.get(&format!("/1.0/storage-pools/{name}"), &[]).await {
        Ok(pool) => pool,
        // A restricted certificate may not look at storage.
        Err(super::error::Failed::Refused { status: 403, .. }) => {
            return Ok(format!("{name}; its driver can't be seen with this certificate"));
        }
        Err(failed) => return Err(told(failed, format!("look up storage pool {name}"))),
    };
    let driver = pool["driver"].as_str().unwrap_or("?");
    Ok(match driver {
        "dir" => format!(
            "{name} is a directory: each instance is a copy of the whole image, which takes seconds for each gigabyte; btrfs, zfs, lvm-thin and ceph clone it"
        ),
        _ => format!("{name} is {driver}, which clones an image"),
    })
}

/// Makes an instance like the pool's, whose runner ends at once, and waits for its end.
async fn trial(
    client: &Client,
    controller: ControllerId,
    spec: &InstanceSpec,
) -> Result<String, String> {
    let pool = PoolName::new("dayfly-check").map_err(|error| error.to_string())?;
    // Two backends may be members of one cluster, and are tried at once.
    let suffix = Suffix::from_bits(RandomState::new().hash_one(0));
    let runner = RunnerName::compose(&pool, controller, suffix);
    let result = run(client, controller, &runner, &pool, spec).await;
    let removed = destroy::destroy(client, controller, &runner).await;
    removed.map_err(|error| error.to_string())?;
    if let Some(fence) = spec.lxd.as_ref().and_then(|lxd| lxd.fence.as_ref()) {
        fence::remove(client, controller, fence).await.map_err(|error| error.to_string())?;
    }
    result.map_err(|error| error.to_string())?
}

async fn run(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
    pool: &PoolName,
    spec: &InstanceSpec,
) -> Result<Result<String, String>, BackendError> {
    // The keeper refuses a command that the image does not have; the runner itself is not started.
    let made = create::create(client, controller, CreateRequest { runner, pool, spec }).await?;
    let is_vm = spec.lxd.as_ref().is_some_and(|lxd| lxd.kind == LxdKind::Vm);
    if is_vm {
        return Ok(Ok("it started; whether it ends by itself is not tried".to_owned()));
    }
    // The runner program refuses a registration that is none, and ends.
    let jit = JitConfig::new("e30=".to_owned());
    hand_over::hand_over(client, controller, runner, &made.id, &jit).await?;
    for _ in 0..END_LOOKS_MAX {
        let record = records::inspect(client, controller, runner).await?;
        if let Some(InstanceStatus::Ended(exit)) = record.map(|record| record.status) {
            return Ok(match exit.code {
                Some(_) => Ok("it started, took a registration and ended".to_owned()),
                None => Err(format!("it ended, and not by itself: {exit}")),
            });
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(Err(
        "its runner did not end on a registration that is none, or the instance stayed after it: it needs `poweroff`"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use dayfly_core::model::LxdSpec;

    use super::*;

    #[test]
    fn what_lists_let_jobs_reach_is_told() {
        let check = |deny: &[&str], allow: &[&str], expected: &str| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let fence = Fence { deny: owned(deny), allow: owned(allow) };
            let told = reaches(ControllerId(uuid::Uuid::nil()), &fence);
            let (reached, network) = told.split_once(", by a network of dayfly's own, ").unwrap();
            assert_eq!(reached, expected);
            assert!(network.starts_with("dfly"), "{told}");
        };
        check(&[], &[], "everything but the host and each other");
        check(&["10.0.0.0/8"], &[], "everything but 10.0.0.0/8, the host and each other");
        check(&[], &["192.0.2.0/24"], "192.0.2.0/24, and nothing else");
        check(
            &["10.0.0.0/8"],
            &["10.1.2.3/32"],
            "everything but 10.0.0.0/8, the host and each other; of these networks 10.1.2.3/32",
        );
    }

    #[test]
    fn risks_are_told() {
        assert!(risks(&InstanceSpec::default()).is_empty());
        let lxd = Some(LxdSpec { nesting: true, ..LxdSpec::default() });
        let spec = InstanceSpec { privileged: true, lxd, ..InstanceSpec::default() };
        assert_eq!(risks(&spec).len(), 2);
    }
}
