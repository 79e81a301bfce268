//! Every key that a configuration file may have. `docs/config.md` explains each; a test compares.

use crate::table::Keys;

const fn keys(what: &'static str, known: &'static [&'static str]) -> Keys {
    Keys { what, known, hidden: &[], later: &[], instead: &[] }
}

pub(crate) const FILE: Keys = Keys {
    later: &["server"],
    instead: &[("pool", "write `pools`, a list"), ("backend", "write `backends`, a mapping")],
    ..keys("the file", &["github", "backends", "pools", "store"])
};

pub(crate) const SCOPE: Keys = Keys {
    instead: &[
        ("token", "write `auth: { token: … }`"),
        ("app", "write `auth: { app: … }`"),
        ("organization", "write `url: https://github.com/ORGANIZATION`"),
        ("repository", "write `url: https://github.com/OWNER/REPOSITORY`"),
    ],
    ..keys("a scope", &["name", "url", "auth"])
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
    ..keys("`app`", &["client_id", "private_key", "installation_id"])
};

pub(crate) const BACKEND: Keys = Keys {
    hidden: &["noop"],
    later: &["lxd", "incus", "libvirt", "openstack", "tart", "exec", "budget"],
    instead: &[("podman", "write `docker: { host: unix:///run/podman/podman.sock }`")],
    ..keys("a backend", &["docker", "process"])
};

pub(crate) const DOCKER: Keys = keys("`docker`", &["host", "context", "tls"]);
pub(crate) const TLS: Keys = keys("`tls`", &["ca", "cert", "key"]);
pub(crate) const PROCESS: Keys = keys("`process`", &["directory"]);
pub(crate) const NOOP: Keys = keys("`noop`", &["socket"]);

pub(crate) const STORE: Keys =
    Keys { later: &["postgres", "postgresql"], ..keys("`store`", &["sqlite"]) };

pub(crate) const POOL: Keys = Keys {
    later: &["repositories", "hold"],
    instead: &[
        ("backend", "write `backends: [NAME]`"),
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
            "warm",
            "min_idle",
            "max",
            "priority",
            "schedules",
            "deadlines",
        ],
    )
};

/// Keys of a pool that only a container can heed.
pub(crate) const CONTAINER_ONLY: &[&str] = &[
    "pull",
    "pids",
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

pub(crate) const MOUNT: Keys = keys("a mount", &["source", "target", "read_only"]);
pub(crate) const CAPABILITIES: Keys = keys("`capabilities`", &["add", "drop"]);
pub(crate) const SCHEDULE: Keys =
    keys("a schedule", &["cron", "timezone", "warm", "min_idle", "max"]);
pub(crate) const DEADLINES: Keys = keys(
    "`deadlines`",
    &["creating", "booting", "minting", "starting", "idle", "removing", "job_timeout", "warm"],
);

/// All of them.
#[cfg(test)]
pub(crate) const ALL: [&Keys; 15] = [
    &FILE,
    &SCOPE,
    &AUTH,
    &APP,
    &BACKEND,
    &DOCKER,
    &TLS,
    &PROCESS,
    &NOOP,
    &STORE,
    &POOL,
    &MOUNT,
    &CAPABILITIES,
    &SCHEDULE,
    &DEADLINES,
];
