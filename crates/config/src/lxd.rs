//! LXD and Incus: the server of a backend, and what only they know of a pool's instances.

use std::{collections::BTreeMap, path::Path};

use dayfly_core::model::{Fence, InstanceSpec, LxdKind, LxdSpec, Program};

use crate::{
    backends::path,
    config::{LxdConfig, LxdServerConfig},
    github::secret,
    keys,
    mask::visible,
    problem::Problems,
    quantity,
    table::{Table, Text},
    yaml::{Node, Value},
};

/// What dayfly itself writes on its instances.
const OWN_KEYS: &str = "user.dayfly.";

/// The longest script: Linux takes arguments of twice that length.
const SETUP_BYTES_MAX: usize = 64 << 10;

/// A server.
pub(crate) fn server(
    node: &Node,
    is_incus: bool,
    base: &Path,
    problems: &mut Problems,
) -> Option<LxdConfig> {
    // `lxd:` with nothing behind it is a server of this machine.
    if matches!(node.value, Value::Nothing) {
        return Some(LxdConfig { is_incus, ..LxdConfig::default() });
    }
    let table = Table::of(node, &keys::LXD, problems)?;
    let url = table.text("url", problems).and_then(|url| checked_url(&url, problems));
    let socket = path(&table, "socket", base, problems);
    let client_certificate = path(&table, "client_cert", base, problems);
    let client_key = secret(&table, "client_key", base, problems);
    let server_certificate = path(&table, "server_cert", base, problems);
    let (project, target) = (name(&table, "project", problems), name(&table, "target", problems));
    let server = if table.get("url").is_none() {
        for key in ["client_cert", "client_key", "server_cert"] {
            if let Some(node) = table.get(key) {
                let message = format!("`{key}` is for a server that is reached by `url`");
                problems.error(&node.span, message, "add `url: https://HOST:8443`, or remove it");
            }
        }
        socket.map_or(LxdServerConfig::Found, LxdServerConfig::Socket)
    } else {
        if let Some(node) = table.get("socket") {
            problems.error(&node.span, "a server has both `url` and `socket`", "write one of them");
        }
        table.required("client_cert", "name the PEM file of dayfly's certificate", problems);
        table.required("client_key", "say where its key lies: file:PATH", problems);
        LxdServerConfig::Remote {
            url: url?,
            client_certificate: client_certificate?,
            client_key: client_key?,
            server_certificate,
        }
    };
    Some(LxdConfig { is_incus, server, project, target })
}

fn checked_url(url: &Text<'_>, problems: &mut Problems) -> Option<String> {
    let uri = url.text.parse::<http::Uri>().ok();
    let valid = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("https")
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
            && uri
                .authority()
                .is_some_and(|host| !host.host().is_empty() && !host.as_str().contains('@'))
    });
    if !valid {
        problems.error(url.span, "`url` is no address of a server", "write https://HOST:8443");
    }
    valid.then(|| url.text.to_owned())
}

/// A name that becomes part of an address.
fn name(table: &Table<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    table.parsed(key, problems, |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        if text.chars().all(plain) {
            Ok(text.to_owned())
        } else {
            Err("letters, digits, dashes, dots and underscores".to_owned())
        }
    })
}

/// What only LXD knows of a pool's instances, checked against the rest of `instance`.
pub(crate) fn instance(
    pool: &Table<'_>,
    instance: &InstanceSpec,
    problems: &mut Problems,
) -> LxdSpec {
    let kind = pool.parsed("instance", problems, |text| match text {
        "container" => Ok(LxdKind::Container),
        "vm" => Ok(LxdKind::Vm),
        _ => Err("write container or vm".to_owned()),
    });
    let lxd = LxdSpec {
        kind: kind.unwrap_or_default(),
        profiles: pool.get("profiles").map(|_| pool.strings("profiles", problems)),
        storage: name(pool, "storage", problems),
        disk_bytes: pool.parsed("disk", problems, quantity::memory_bytes),
        nesting: pool.flag("nesting", problems),
        config: config(pool, problems),
        devices: devices(pool, problems),
        setup: pool.parsed("setup", problems, |text| match text {
            text if text.len() > SETUP_BYTES_MAX => {
                Err(format!("a script of at most {SETUP_BYTES_MAX} bytes"))
            }
            text if text.contains('\0') => Err("text".to_owned()),
            text => Ok(text.to_owned()),
        }),
        fence: fence(pool, problems),
        dockerhub_mirror: pool.parsed("dockerhub_mirror", problems, mirror),
        program: program(pool, problems),
    };
    let mut wrong = |key: &str, message: &str, remedy: &str| {
        let place = pool.get(key).map_or(pool.span.clone(), |node| node.span.clone());
        problems.error(&place, message, remedy);
    };
    if lxd.storage.is_none() {
        let remedy = "add `storage`, the name of a storage pool";
        if lxd.disk_bytes.is_some() {
            wrong("disk", "`disk` says how large, and not where", remedy);
        }
        if instance.mounts.iter().any(|mount| !mount.source.starts_with('/')) {
            wrong("mounts", "a volume lies in a storage pool", remedy);
        }
    }
    if lxd.fence.is_some() {
        let of_nic = |device: &BTreeMap<String, String>| {
            device.get("type").is_some_and(|kind| kind == "nic")
        };
        let message =
            "a pool with `denylist` or `allowlist` has a network of dayfly's own, and no other";
        let is_named = lxd.devices.contains_key("eth0") || lxd.devices.values().any(of_nic);
        for (key, _) in [("network", instance.network.is_some()), ("devices", is_named)]
            .into_iter()
            .filter(|(_, asked)| *asked)
        {
            wrong(key, message, "remove it, or the lists");
        }
    }
    if instance.user.as_ref().is_some_and(|user| user.contains(':')) {
        wrong("user", "a user of an LXD instance has no group of another", "write the user alone");
    }
    if lxd.kind == LxdKind::Vm {
        let whole = instance.cpu_millis.is_none_or(|millis| millis.is_multiple_of(1_000));
        let asked = [
            ("privileged", instance.privileged),
            ("nesting", lxd.nesting),
            ("pids", instance.pids.is_some()),
        ];
        for (key, _) in asked.into_iter().filter(|(_, asked)| *asked) {
            let message = format!("`{key}` is for containers, and the pool has `instance: vm`");
            wrong(key, &message, "remove it: a virtual machine has a kernel of its own");
        }
        if !whole {
            wrong("cpus", "a virtual machine has whole processors", "write a whole number");
        }
    }
    lxd
}

/// The address of a registry, as Docker takes it.
fn mirror(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().ok();
    let valid = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri.query().is_none()
            && uri
                .authority()
                .is_some_and(|host| !host.host().is_empty() && !host.as_str().contains('@'))
    });
    if valid {
        Ok(text.to_owned())
    } else {
        Err("write https://HOST, or https://HOST:PORT".to_owned())
    }
}

/// What instances may reach.
fn fence(pool: &Table<'_>, problems: &mut Problems) -> Option<Fence> {
    let mut networks = |key: &str| -> Vec<String> {
        let mut networks = Vec::new();
        for text in pool.texts(key, problems) {
            let alone = || text.text.parse::<std::net::Ipv4Addr>().ok().map(ipnet::Ipv4Net::from);
            match text.text.parse::<ipnet::Ipv4Net>().ok().or_else(alone) {
                Some(network) => networks.push(network.trunc().to_string()),
                None => problems.error(
                    text.span,
                    format!("`{key}` can't have `{}`", visible(text.text)),
                    "write IPv4 networks, such as 10.0.0.0/8: behind the lists there is no IPv6",
                ),
            }
        }
        networks
    };
    let (deny, allow) = (networks("denylist"), networks("allowlist"));
    if let Some(node) = pool.get("allowlist").filter(|_| allow.is_empty() && deny.is_empty()) {
        let message = "`allowlist` has nothing, and there is no `denylist`";
        problems.error(&node.span, message, "write the networks, or `denylist: []`, or remove it");
    }
    let asked = ["denylist", "allowlist"].iter().any(|key| pool.get(key).is_some());
    asked.then_some(Fence { deny, allow })
}

/// The runner program that is put into each instance.
fn program(pool: &Table<'_>, problems: &mut Problems) -> Option<Program> {
    let version = pool.parsed("runner_version", problems, |text| {
        let number = |part: &str| {
            (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        match text {
            "image" => Ok(None),
            "latest" => Ok(Some(None)),
            text if text.split('.').count() == 3 && text.split('.').all(number) => {
                Ok(Some(Some(text.to_owned())))
            }
            _ => Err("write image, latest, or a version such as 2.330.0".to_owned()),
        }
    });
    let sha256 = pool.parsed("runner_sha256", problems, |text| {
        let sum = text.to_ascii_lowercase();
        if sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(sum)
        } else {
            Err("write the 64 hexadecimal digits of the archive's SHA-256".to_owned())
        }
    });
    // A version that is none has been told already.
    let is_wrong = version.is_none() && pool.get("runner_version").is_some();
    let wanted = version.flatten();
    if let (None | Some(None), Some(node), false) = (&wanted, pool.get("runner_sha256"), is_wrong) {
        problems.error(
            &node.span,
            "`runner_sha256` is of one version, and the pool names none",
            "add the version, such as `runner_version: 2.330.0`, or remove it",
        );
    }
    wanted.map(|pinned| Program::wanted(pinned, sha256))
}

fn config(pool: &Table<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    for (key, node) in pool.map("config", problems) {
        if key.text.starts_with(OWN_KEYS) {
            let message = format!("`{}` is dayfly's own", visible(key.text));
            problems.error(key.span, message, "remove it");
        } else if let Some(value) = value(&key, node, problems) {
            config.insert(key.text.to_owned(), value);
        }
    }
    config
}

fn devices(
    pool: &Table<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut devices = BTreeMap::new();
    for (name, node) in pool.map("devices", problems) {
        let Value::Map(entries) = &node.value else {
            let message =
                format!("device `{}` is a mapping, not {}", visible(name.text), node.word());
            problems.error(&node.span, message, "write it as `{ type: gpu }`, with LXD's own keys");
            continue;
        };
        let mut device = BTreeMap::new();
        for (key, node) in entries {
            let Some(text) = key.text() else { continue };
            let key = Text { text, span: &key.span };
            if let Some(value) = value(&key, node, problems) {
                device.insert(key.text.to_owned(), value);
            }
        }
        if !device.contains_key("type") {
            let message = format!("device `{}` has no `type`", visible(name.text));
            problems.error(name.span, message, "write one, such as `type: gpu`");
        }
        devices.insert(name.text.to_owned(), device);
    }
    devices
}

/// A setting in LXD's own words: text, whatever it means.
fn value(key: &Text<'_>, node: &Node, problems: &mut Problems) -> Option<String> {
    let value = node.text().filter(|value| !value.contains('\0'));
    if value.is_none() {
        let message = format!("`{}` is text, not {}", visible(key.text), node.word());
        problems.error(&node.span, message, "write one value");
    }
    value.map(str::to_owned)
}
