//! Which crate may depend on which: the table in ARCHITECTURE.md, kept.

use std::path::Path;

use crate::metadata::{Dependency, Metadata};

/// Normal dependencies among our crates. Adapters know `core` alone, never each other.
const EDGES: &[(&str, &[&str])] = &[
    ("dayfly-core", &[]),
    ("dayfly-config", &["dayfly-core"]),
    ("dayfly-store", &["dayfly-core"]),
    ("dayfly-github", &["dayfly-core"]),
    ("dayfly-backends", &["dayfly-core"]),
    ("dayfly-telemetry", &["dayfly-core"]),
    ("dayfly-engine", &["dayfly-core"]),
    ("dayfly-server", &["dayfly-core", "dayfly-engine", "dayfly-github"]),
    ("dayfly-github-sim", &[]),
    ("dayfly-runner-stub", &[]),
    (
        "dayfly-sim",
        &["dayfly-core", "dayfly-engine", "dayfly-store", "dayfly-github", "dayfly-github-sim"],
    ),
    (
        "dayfly",
        &[
            "dayfly-core",
            "dayfly-config",
            "dayfly-store",
            "dayfly-github",
            "dayfly-backends",
            "dayfly-telemetry",
            "dayfly-engine",
            "dayfly-server",
            "dayfly-github-sim",
            "dayfly-runner-stub",
        ],
    ),
    // The benchmarks ask the simulator by its own client.
    ("xtask", &["dayfly-github-sim"]),
];

/// What tests may depend on besides: an adapter against the other side's stand-in.
const TEST_EDGES: &[(&str, &[&str])] = &[
    ("dayfly-github", &["dayfly-github-sim", "dayfly-runner-stub"]),
    ("dayfly-github-sim", &["dayfly-runner-stub"]),
    (
        "dayfly-engine",
        &["dayfly-store", "dayfly-github", "dayfly-github-sim", "dayfly-runner-stub"],
    ),
    ("dayfly-server", &["dayfly-store"]),
];

/// `core` decides and does nothing: no runtime, no network, no files.
const NEVER_IN_CORE: &[&str] =
    &["tokio", "tokio-util", "reqwest", "rusqlite", "rustix", "futures-util", "axum", "bollard"];

/// Every edge that the tables do not have.
pub fn faults(metadata: &Metadata) -> Vec<String> {
    let mut faults = Vec::new();
    for package in metadata.ours() {
        if !EDGES.iter().any(|(name, _)| *name == package.name) {
            faults.push(format!(
                "crate {} is not in the table of edges (xtask/src/tidy/edges.rs)",
                package.name
            ));
        }
        for dependency in &package.dependencies {
            if dependency.path.is_some() && !allowed(&package.name, dependency) {
                faults
                    .push(format!("crate {} must not depend on {}", package.name, dependency.name));
            }
            if package.name == "dayfly-core" && NEVER_IN_CORE.contains(&dependency.name.as_str()) {
                faults.push(format!("core is pure and must not depend on {}", dependency.name));
            }
        }
    }
    faults
}

fn allowed(from: &str, to: &Dependency) -> bool {
    let has = |table: &[(&str, &[&str])]| {
        table.iter().any(|(name, targets)| *name == from && targets.contains(&to.name.as_str()))
    };
    debug_assert!(to.path.as_deref().is_some_and(Path::is_absolute));
    has(EDGES) || (to.kind.as_deref() == Some("dev") && has(TEST_EDGES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_allowed_only_by_its_table() {
        let check = |from: &str, to: &str, kind: Option<&str>, expected: bool| {
            let to = Dependency {
                name: to.to_owned(),
                kind: kind.map(str::to_owned),
                path: Some("/x".into()),
            };
            assert_eq!(allowed(from, &to), expected, "{from} -> {}", to.name);
        };
        check("dayfly-github", "dayfly-core", None, true);
        check("dayfly-github", "dayfly-store", None, false);
        check("dayfly-github", "dayfly-github-sim", None, false);
        check("dayfly-github", "dayfly-github-sim", Some("dev"), true);
        check("dayfly-core", "dayfly-config", Some("dev"), false);
        check("dayfly", "dayfly-backends", None, true);
        check("stranger", "dayfly-core", None, false);
    }
}
