//! `backends`: the engines, by name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use dayfly_core::model::{BackendName, Budget, Detected};

use crate::{
    config::{BackendConfig, DockerConfig, TlsFiles},
    keys, lxd,
    mask::visible,
    problem::Problems,
    quantity,
    table::{Table, Text},
    yaml::{Node, Value},
};

/// The backends of a file. One with a mistake in it is `None`, so that pools may still name it.
pub(crate) type Backends = BTreeMap<BackendName, Option<BackendConfig>>;

/// How much of each backend may be used; without limits where none is here.
pub(crate) type Budgets = BTreeMap<BackendName, (Budget, Detected)>;

/// In place of a number: what the backend says that it has.
const DETECT: &str = "detect";

pub(crate) fn read(file: &Table<'_>, base: &Path, problems: &mut Problems) -> (Backends, Budgets) {
    let (mut backends, mut budgets) = (Backends::new(), Budgets::new());
    let remedy = "say what makes the instances: `backends: { here: { docker: {} } }`";
    if let Some(Node { value: Value::Map(entries), span }) =
        file.required("backends", remedy, problems)
        && entries.is_empty()
    {
        problems.error(span, "`backends` is empty", remedy);
    }
    for (name, node) in file.map("backends", problems) {
        match BackendName::new(name.text) {
            Ok(known) => {
                let (backend, budget) = backend(node, base, problems);
                budgets.extend(budget.map(|budget| (known.clone(), budget)));
                backends.insert(known, backend);
            }
            Err(error) => {
                problems.error(
                    name.span,
                    format!("`{}` is no backend name", visible(name.text)),
                    error.rule,
                );
                backend(node, base, problems);
            }
        }
    }
    (backends, budgets)
}

fn backend(
    node: &Node,
    base: &Path,
    problems: &mut Problems,
) -> (Option<BackendConfig>, Option<(Budget, Detected)>) {
    let Some(table) = Table::of(node, &keys::BACKEND, problems) else { return (None, None) };
    let budget = table.get("budget").and_then(|node| budget(node, problems));
    (kind(&table, base, problems), budget)
}

fn budget(node: &Node, problems: &mut Problems) -> Option<(Budget, Detected)> {
    let table = Table::of(node, &keys::BUDGET, problems)?;
    let runners = table.number("runners", 1..=i64::from(u32::MAX), problems);
    let mut limit = |key: &str, read: fn(&str) -> Result<u64, String>| {
        let limit = table.parsed(key, problems, |text| match text {
            DETECT => Ok(None),
            text => read(text).map(Some).map_err(|remedy| format!("{remedy}, or `{DETECT}`")),
        });
        (limit.flatten(), limit == Some(None))
    };
    let (cpu_millis, cpus) = limit("cpus", quantity::cpu_millis);
    let (memory_bytes, memory) = limit("memory", quantity::memory_bytes);
    let runners = runners.and_then(|runners| u32::try_from(runners).ok());
    let budget = Budget { cpu_millis, memory_bytes, runners };
    let detected = Detected { cpus, memory };
    if table.present().next().is_none() {
        problems.error(
            &node.span,
            "`budget` limits nothing",
            "write at least one of `cpus`, `memory` and `runners`, or remove it",
        );
    }
    (budget.is_limited() || detected.is_any()).then_some((budget, detected))
}

fn kind(table: &Table<'_>, base: &Path, problems: &mut Problems) -> Option<BackendConfig> {
    let kinds: Vec<_> = keys::BACKEND
        .known
        .iter()
        .chain(keys::BACKEND.hidden)
        .filter(|kind| !keys::OF_ANY_BACKEND.contains(kind) && table.get(kind).is_some())
        .collect();
    let [kind] = kinds.as_slice() else {
        // A kind that is misspelt, or of a later version, has been told already.
        if !kinds.is_empty() || table.is_known() {
            let message = format!("a backend is of one kind, and this has {}", kinds.len());
            problems.error(
                &table.span,
                message,
                "write one of `docker`, `lxd`, `incus`, `process`",
            );
        }
        return None;
    };
    let node = table.get(kind)?;
    // `docker:` with nothing behind it is a backend without settings.
    let is_plain = matches!(node.value, Value::Nothing);
    match **kind {
        "docker" if is_plain => Some(BackendConfig::Docker(DockerConfig::default())),
        "docker" => docker(node, base, problems).map(BackendConfig::Docker),
        "lxd" | "incus" => {
            lxd::server(node, **kind == "incus", base, problems).map(BackendConfig::Lxd)
        }
        "process" if is_plain => Some(BackendConfig::Process { directory: None }),
        "process" => {
            let table = Table::of(node, &keys::PROCESS, problems)?;
            Some(BackendConfig::Process { directory: path(&table, "directory", base, problems) })
        }
        _ => {
            let table = Table::of(node, &keys::NOOP, problems)?;
            table.required(
                "socket",
                "name the socket of the process that plays the instances",
                problems,
            )?;
            Some(BackendConfig::Noop { socket: path(&table, "socket", base, problems)? })
        }
    }
}

fn docker(node: &Node, base: &Path, problems: &mut Problems) -> Option<DockerConfig> {
    let table = Table::of(node, &keys::DOCKER, problems)?;
    let host = table.text("host", problems).and_then(|host| docker_host(&host, problems));
    let context = table.string("context", problems);
    let tls = table.get("tls").and_then(|node| tls(node, base, problems));
    if let (Some(_), Some(node)) = (table.get("host"), table.get("context")) {
        problems.error(&node.span, "`docker` has both `host` and `context`", "write one of them");
    }
    if let Some(node) = table.get("tls")
        && !host.as_ref().is_some_and(|host| host.starts_with("tcp://"))
    {
        problems.error(
            &node.span,
            "`tls` is for a `host` that begins with tcp://",
            "add such a `host`, or remove `tls`",
        );
    }
    Some(DockerConfig { host, context, tls })
}

fn docker_host(host: &Text<'_>, problems: &mut Problems) -> Option<String> {
    const REMEDY: &str = "write unix:///PATH or tcp://HOST:PORT";
    let valid = if let Some(path) = host.text.strip_prefix("unix://") {
        path.starts_with('/')
    } else if let Some(authority) = host.text.strip_prefix("tcp://") {
        authority.parse::<http::uri::Authority>().is_ok_and(|authority| {
            authority.port_u16().is_some()
                && !authority.host().is_empty()
                && !authority.as_str().contains('@')
        })
    } else {
        false
    };
    if !valid {
        let remedy = if host.text.starts_with("ssh://") {
            "ssh:// is not in this version: write unix:///PATH, or tcp://HOST:PORT with `tls`"
        } else {
            REMEDY
        };
        problems.error(host.span, "`host` is no address of a Docker engine", remedy);
    }
    valid.then(|| host.text.to_owned())
}

fn tls(node: &Node, base: &Path, problems: &mut Problems) -> Option<TlsFiles> {
    let table = Table::of(node, &keys::TLS, problems)?;
    let mut file = |key| {
        table.required(key, "name its PEM file", problems)?;
        path(&table, key, base, problems)
    };
    let (ca, certificate, key) = (file("ca"), file("cert"), file("key"));
    Some(TlsFiles { ca: ca?, certificate: certificate?, key: key? })
}

/// A path, relative to the configuration file's directory.
pub(crate) fn path(
    table: &Table<'_>,
    key: &str,
    base: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    table.parsed(key, problems, |text| {
        if text.contains('\0') { Err("write a path".to_owned()) } else { Ok(base.join(text)) }
    })
}
