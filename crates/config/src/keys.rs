//! Every key that a configuration file may have. `docs/config.md` explains each; a test compares.

use crate::table::Keys;

const fn keys(what: &'static str, known: &'static [&'static str]) -> Keys {
    Keys { what, known, hidden: &[], later: &[], instead: &[] }
}

pub(crate) const FILE: Keys = Keys {
    instead: &[
        ("pool", "write `pools`, a list"),
        ("backend", "write `backends`, a mapping"),
        ("webhook", "write `server: { listen: …, webhook_secret: … }`"),
    ],
    ..keys("the file", &["github", "backends", "pools", "store", "server"])
};

pub(crate) const SCOPE: Keys = Keys {
    instead: &[
        ("token", "write `auth: { token: … }`"),
        ("app", "write `auth: { app: … }`"),
        ("organization", "write `url: https://github.com/ORGANIZATION`"),
        ("repository", "write `url: https://github.com/OWNER/REPOSITORY`"),
    ],
    ..keys("a scope", &["name", "url", "auth", "repositories"])
};

pub(crate) const AUTH: Keys = Keys {
    instead: &[
        ("app_id", "write `app: { client_id: …, private_key: … }`"),
        ("client_id", "write `app: { client_id: …, private_key: … }`"),
        ("private_key", "write `app: { client_id: …, private_key: … }`"),
    ],
    ..keys("`auth`", &["app", "token"])
};

pub(crate) const APP: Keys = Keys {
    instead: &[("app_id", "write `client_id`, which takes an App's client id or its numeric id")],
    ..keys("`app`", &["client_id", "private_key", "installation_id", "webhook"])
};

pub(crate) const BACKEND: Keys = Keys {
    hidden: &["noop"],
    later: &["libvirt", "openstack", "tart", "exec"],
    instead: &[
        ("podman", "write `docker: { host: unix:///run/podman/podman.sock }`"),
        ("max", "write `budget: { runners: … }`"),
        ("cpus", "write `budget: { cpus: … }`"),
        ("memory", "write `budget: { memory: … }`"),
    ],
    ..keys("a backend", &["docker", "lxd", "incus", "process", "budget"])
};

/// Keys of a backend that are no kind of one.
pub(crate) const OF_ANY_BACKEND: &[&str] = &["budget"];

pub(crate) const BUDGET: Keys = Keys {
    instead: &[
        ("cpu", "write `cpus`"),
        ("max", "write `runners`"),
        ("instances", "write `runners`"),
    ],
    ..keys("`budget`", &["cpus", "memory", "runners"])
};

pub(crate) const DOCKER: Keys = keys("`docker`", &["host", "context", "tls"]);
pub(crate) const LXD: Keys = Keys {
    instead: &[
        ("host", "write `url: https://HOST:8443`, or `socket: PATH`"),
        ("cert", "write `client_cert`"),
        ("key", "write `client_key`"),
    ],
    ..keys(
        "`lxd`",
        &["socket", "url", "client_cert", "client_key", "server_cert", "project", "target"],
    )
};
pub(crate) const TLS: Keys = keys("`tls`", &["ca", "cert", "key"]);
pub(crate) const PROCESS: Keys = keys("`process`", &["directory"]);
pub(crate) const NOOP: Keys = keys("`noop`", &["socket"]);

pub(crate) const STORE: Keys =
    Keys { later: &["postgres", "postgresql"], ..keys("`store`", &["sqlite"]) };

pub(crate) const SERVER: Keys = Keys {
    instead: &[
        ("secret", "write `webhook_secret`"),
        ("webhook_secrets", "write `webhook_secret`, which takes a list too"),
        ("url", "write `webhook_url`, the address by which GitHub reaches it"),
        ("port", "write `listen: ADDRESS:PORT`"),
    ],
    ..keys(
        "`server`",
        &["listen", "tls", "webhook_secret", "webhook_url", "allow", "trusted_proxies"],
    )
};

pub(crate) const SERVER_TLS: Keys = keys("the server's `tls`", &["cert", "key"]);

pub(crate) const POOL: Keys = Keys {
    later: &["hold"],
    instead: &[
        ("backend", "write `backends: [NAME]`"),
        ("spread", "write `placement: spread`"),
        ("repositories", "write `repositories` in the pool's scope, under `github`"),
        ("runner_group", "write `group`"),
        ("volumes", "write `mounts`"),
        ("min", "write `min_idle` (online and idle) or `warm` (booted, not registered)"),
        ("max_runners", "write `max`"),
        ("entrypoint", "write `command`"),
    ],
    ..keys(
        "a pool",
        &[
            "name",
            "github",
            "labels",
            "group",
            "scale_set",
            "adopt",
            "demand",
            "backends",
            "placement",
            "image",
            "pull",
            "command",
            "cpus",
            "memory",
            "pids",
            "network",
            "mounts",
            "tmpfs",
            "environment",
            "capabilities",
            "devices",
            "user",
            "read_only",
            "privileged",
            "runtime",
            "init",
            "instance",
            "profiles",
            "storage",
            "disk",
            "nesting",
            "config",
            "setup",
            "runner_version",
            "runner_sha256",
            "denylist",
            "allowlist",
            "dockerhub_mirror",
            "warm",
            "min_idle",
            "max",
            "priority",
            "schedules",
            "deadlines",
        ],
    )
};

/// Keys of a pool that only an engine of containers can heed.
pub(crate) const CONTAINER_ONLY: &[&str] = &[
    "pull",
    "network",
    "mounts",
    "tmpfs",
    "capabilities",
    "devices",
    "user",
    "read_only",
    "privileged",
    "runtime",
    "init",
];

/// Keys of a pool that only LXD and Incus can heed.
pub(crate) const LXD_ONLY: &[&str] = &[
    "instance",
    "profiles",
    "storage",
    "disk",
    "nesting",
    "config",
    "setup",
    "runner_version",
    "runner_sha256",
    "denylist",
    "allowlist",
    "dockerhub_mirror",
];

/// Keys of a pool that LXD and Incus have no word for.
pub(crate) const NOT_LXD: &[&str] =
    &["pull", "tmpfs", "capabilities", "read_only", "runtime", "init"];

pub(crate) const MOUNT: Keys = keys("a mount", &["source", "target", "read_only"]);
pub(crate) const CAPABILITIES: Keys = keys("`capabilities`", &["add", "drop"]);
pub(crate) const SCHEDULE: Keys =
    keys("a schedule", &["cron", "timezone", "warm", "min_idle", "max"]);
pub(crate) const DEADLINES: Keys = keys(
    "`deadlines`",
    &["creating", "booting", "minting", "starting", "idle", "removing", "job_timeout", "warm"],
);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    const SECTIONS: [&Keys; 18] = [
        &FILE,
        &SCOPE,
        &AUTH,
        &APP,
        &BACKEND,
        &BUDGET,
        &DOCKER,
        &LXD,
        &TLS,
        &PROCESS,
        &STORE,
        &SERVER,
        &SERVER_TLS,
        &POOL,
        &MOUNT,
        &CAPABILITIES,
        &SCHEDULE,
        &DEADLINES,
    ];

    const REFERENCE: &str = include_str!("../../../docs/config.md");

    /// The keys of the table in the section of that name.
    fn documented(what: &str) -> BTreeSet<&'static str> {
        let title = |line: &str| {
            line.starts_with('#').then(|| line.trim_start_matches(['#', ' ']).to_lowercase())
        };
        let mut lines = REFERENCE.lines().skip_while(|line| title(line).as_deref() != Some(what));
        assert!(lines.next().is_some(), "docs/config.md has no section \"{what}\"");
        let rows = lines.take_while(|line| !line.starts_with('#'));
        rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`').map(|(key, _)| key))
            .collect()
    }

    #[test]
    fn the_reference_has_every_key_and_no_other() {
        for keys in SECTIONS {
            let known: BTreeSet<_> = keys.known.iter().copied().collect();
            assert_eq!(documented(keys.what), known, "in the section on {}", keys.what);
        }
    }

    #[test]
    fn a_key_is_of_one_sort() {
        for keys in SECTIONS.into_iter().chain([&NOOP]) {
            let instead = keys.instead.iter().map(|(key, _)| key);
            let all: Vec<_> =
                keys.known.iter().chain(keys.hidden).chain(keys.later).chain(instead).collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
        }
        for keys in [CONTAINER_ONLY, LXD_ONLY, NOT_LXD] {
            assert!(keys.iter().all(|key| POOL.known.contains(key)));
        }
    }

    #[test]
    fn the_references_examples_are_valid() {
        let blocks = REFERENCE.split("```").skip(1).step_by(2);
        let examples: Vec<_> = blocks.filter_map(|block| block.strip_prefix("yaml\n")).collect();
        assert!(examples.len() >= 3);
        for example in examples {
            if let Err(errors) = crate::parse(example.as_bytes(), Path::new("docs/config.md")) {
                panic!("{errors}");
            }
        }
    }
}
