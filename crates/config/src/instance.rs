//! A pool's instances: image, resources, and what they see of the host.

use std::collections::BTreeMap;

use dayfly_core::model::{InstanceSpec, Mount, PullPolicy};

use crate::{
    config::BackendConfig,
    keys, lxd,
    mask::visible,
    problem::Problems,
    quantity,
    table::{Table, Text, text},
    yaml::{Node, Value},
};

/// The runner program reads its settings from variables that begin so; the waiter sets them.
const RUNNER_INPUT: &str = "ACTIONS_RUNNER_INPUT_";

/// Reads everything but the image.
pub(crate) fn read(
    pool: &Table<'_>,
    kind: Option<&BackendConfig>,
    problems: &mut Problems,
) -> InstanceSpec {
    let (capabilities_add, capabilities_drop) = capabilities(pool, problems);
    let is_lxd = matches!(kind, Some(BackendConfig::Lxd(_)));
    let mut instance = InstanceSpec {
        image: String::new(),
        pull: pull(pool, problems),
        command: command(pool, problems),
        cpu_millis: pool.parsed("cpus", problems, quantity::cpu_millis),
        memory_bytes: pool.parsed("memory", problems, quantity::memory_bytes),
        pids: pool.number("pids", 1..=i64::from(u32::MAX), problems).map(i64::unsigned_abs),
        network: pool.string("network", problems),
        mounts: mounts(pool, problems),
        tmpfs: tmpfs(pool, problems),
        environment: environment(pool, problems),
        capabilities_add,
        capabilities_drop,
        // In LXD's words they are a mapping.
        devices: if is_lxd { Vec::new() } else { pool.strings("devices", problems) },
        user: pool.string("user", problems),
        read_only_root: pool.flag("read_only", problems),
        privileged: pool.flag("privileged", problems),
        runtime: pool.string("runtime", problems),
        init: pool.flag("init", problems),
        lxd: None,
    };
    instance.lxd = is_lxd.then(|| lxd::instance(pool, &instance, problems));
    // Jobs that start engines of their own read it there.
    if let Some(mirror) = instance.lxd.as_ref().and_then(|lxd| lxd.dockerhub_mirror.clone()) {
        for name in ["DOCKERHUB_MIRROR", "CONTAINER_REGISTRY_URL"] {
            instance.environment.entry(name.to_owned()).or_insert_with(|| mirror.clone());
        }
    }
    instance
}

fn pull(pool: &Table<'_>, problems: &mut Problems) -> PullPolicy {
    let policy = pool.parsed("pull", problems, |text| match text {
        "missing" => Ok(PullPolicy::Missing),
        "always" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        _ => Err("write missing, always or never".to_owned()),
    });
    policy.unwrap_or_default()
}

/// A list of words, or one line of them without quoting.
fn command(pool: &Table<'_>, problems: &mut Problems) -> Vec<String> {
    let Some(Node { value: Value::Scalar { .. }, .. }) = pool.get("command") else {
        return pool.strings("command", problems);
    };
    let words = pool.parsed("command", problems, |line| {
        if line.contains(['"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>', '\n']) {
            return Err(
                "no shell reads it: write a list of words, such as [sh, -c, \"…\"]".to_owned()
            );
        }
        Ok(line.split_whitespace().map(str::to_owned).collect())
    });
    words.unwrap_or_default()
}

fn mounts(pool: &Table<'_>, problems: &mut Problems) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for node in pool.list("mounts", problems) {
        let mount = match &node.value {
            Value::Map(_) => Table::of(node, &keys::MOUNT, problems).and_then(|table| {
                table.required("source", "write a path of the host or a volume's name", problems);
                table.required("target", "write a path in the instance", problems);
                let read_only = table.flag("read_only", problems);
                let (source, target) =
                    (table.string("source", problems), table.string("target", problems));
                Some(Mount { source: source?, target: target?, read_only })
            }),
            _ => text(node, "a mount", problems).and_then(|text| short_mount(&text, problems)),
        };
        let Some(mount) = mount else { continue };
        if let Some(remedy) = bad_mount(&mount, &mounts) {
            problems.error(
                &node.span,
                format!(
                    "a mount can't be from `{}` to `{}`",
                    visible(&mount.source),
                    visible(&mount.target)
                ),
                remedy,
            );
        } else {
            mounts.push(mount);
        }
    }
    mounts
}

fn short_mount(text: &Text<'_>, problems: &mut Problems) -> Option<Mount> {
    let parts: Vec<&str> = text.text.split(':').collect();
    let (source, target, read_only) = match parts.as_slice() {
        [source, target] | [source, target, "rw"] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => {
            let remedy = "write SOURCE:TARGET, SOURCE:TARGET:ro, or a mapping with `source`, `target` and `read_only`";
            problems.error(text.span, format!("a mount can't be `{}`", visible(text.text)), remedy);
            return None;
        }
    };
    Some(Mount { source: (*source).to_owned(), target: (*target).to_owned(), read_only })
}

fn bad_mount(mount: &Mount, others: &[Mount]) -> Option<&'static str> {
    let volume = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    if !mount.source.starts_with('/') && !volume(&mount.source) {
        Some("the source is an absolute path of the host, or a volume's name")
    } else if !mount.target.starts_with('/') {
        Some("the target is an absolute path in the instance")
    } else if others.iter().any(|other| other.target == mount.target) {
        Some("another mount has that target: give each its own")
    } else {
        None
    }
}

/// A mapping of paths to options, or a list of paths, each perhaps with `:options`.
fn tmpfs(pool: &Table<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let entries: Vec<(Text<'_>, &str)> = match pool.get("tmpfs") {
        Some(Node { value: Value::Map(_), .. }) => {
            let entries = pool.map("tmpfs", problems).into_iter();
            entries
                .filter_map(|(path, node)| match (&node.value, node.text()) {
                    (Value::Nothing, _) => Some((path, "")),
                    (_, Some(options)) => Some((path, options)),
                    _ => {
                        let message =
                            format!("the options of a `tmpfs` are text, not {}", node.word());
                        problems.error(&node.span, message, "write them as `mount -o` takes them");
                        None
                    }
                })
                .collect()
        }
        _ => {
            let entries = pool.texts("tmpfs", problems).into_iter();
            entries
                .map(|Text { text, span }| {
                    let (path, options) = text.split_once(':').unwrap_or((text, ""));
                    (Text { text: path, span }, options)
                })
                .collect()
        }
    };
    let mut tmpfs = BTreeMap::new();
    for (path, options) in entries {
        if !path.text.starts_with('/') {
            let message = format!("a `tmpfs` can't be at `{}`", visible(path.text));
            problems.error(path.span, message, "write an absolute path in the instance");
        } else if tmpfs.insert(path.text.to_owned(), options.to_owned()).is_some() {
            problems.error(
                path.span,
                format!("`tmpfs` has `{}` twice", visible(path.text)),
                "remove one",
            );
        }
    }
    tmpfs
}

fn environment(pool: &Table<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, node) in pool.map("environment", problems) {
        // An empty value is one; nothing is not.
        let Some(value) = node.text() else {
            let message =
                format!("`{}` in `environment` is text, not {}", visible(name.text), node.word());
            problems.error(&node.span, message, "write one value, \"\" for an empty one");
            continue;
        };
        if name.text.contains(['=', '\0']) || value.contains('\0') {
            let message = format!("`{}` can't be set in `environment`", visible(name.text));
            problems.error(name.span, message, "no = in a name, no NUL in a value");
        } else if name.text.to_ascii_uppercase().starts_with(RUNNER_INPUT) {
            let message =
                format!("`{}` in `environment` belongs to the runner program", visible(name.text));
            problems.error(name.span, message, "remove it: dayfly hands the runner its settings");
        } else {
            environment.insert(name.text.to_owned(), value.to_owned());
        }
    }
    environment
}

fn capabilities(pool: &Table<'_>, problems: &mut Problems) -> (Vec<String>, Vec<String>) {
    let Some(table) =
        pool.get("capabilities").and_then(|node| Table::of(node, &keys::CAPABILITIES, problems))
    else {
        return (Vec::new(), Vec::new());
    };
    let mut names = |key| {
        let texts = table.texts(key, problems);
        for name in &texts {
            if !name.text.chars().all(|c| c.is_ascii_alphabetic() || c == '_') {
                let message = format!("`{}` is no capability", visible(name.text));
                problems.error(name.span, message, "write a name such as NET_ADMIN, or ALL");
            }
        }
        texts.into_iter().map(|name| name.text.to_owned()).collect()
    };
    (names("add"), names("drop"))
}
