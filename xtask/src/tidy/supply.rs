//! What may come in from outside: the rules of deny.toml, checked from `cargo metadata` where cargo-deny is not installed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::metadata::{Metadata, Package, root};

/// The part of deny.toml that is checked here. Advisories need a network and stay cargo-deny's.
#[derive(Debug, Deserialize)]
struct Rules {
    bans: Bans,
    licenses: Licences,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    deny: Vec<Named>,
    skip: Vec<Named>,
}

/// `{ crate = "name@version", reason = "…" }`
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    krate: String,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// Every package that a rule refuses.
pub fn faults(metadata: &Metadata) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("deny.toml")).context("read deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("deny.toml")?;
    Ok(check(&rules, &metadata.built()?))
}

fn check(rules: &Rules, packages: &[&Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let Package { name, version, .. } = package;
        if rules.bans.deny.iter().any(|ban| ban.krate == *name) {
            faults.push(format!("{name} {version} is banned by deny.toml"));
        }
        let Some(source) = &package.source else { continue };
        let registry = source.strip_prefix("registry+");
        if !registry.is_some_and(|registry| {
            rules.sources.allow_registry.iter().any(|allowed| allowed == registry)
        }) {
            faults.push(format!(
                "{name} {version} comes from {source}, which deny.toml does not allow"
            ));
        }
        if !licensed(package, &rules.licenses.allow) {
            let licence = package.license.as_deref().unwrap_or("no licence");
            faults.push(format!(
                "{name} {version} is under {licence}, which deny.toml does not allow"
            ));
        }
    }
    faults.extend(duplicates(rules, packages));
    faults
}

fn licensed(package: &Package, allow: &[String]) -> bool {
    let Some(licence) = &package.license else { return false };
    // Old crates write `MIT/Apache-2.0`.
    let Ok(expression) = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|needed| allow.iter().any(|allowed| *allowed == needed.to_string()))
}

/// Two versions of one crate, unless deny.toml lists the older one with a reason; and what it lists in vain.
fn duplicates(rules: &Rules, packages: &[&Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let mut faults = Vec::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let unexcused: Vec<_> = versions
            .iter()
            .filter(|version| {
                !rules.bans.skip.iter().any(|skip| skip.krate == format!("{name}@{version}"))
            })
            .collect();
        if unexcused.len() > 1 {
            faults.push(format!("{name} comes in the versions {unexcused:?}; list all but one in deny.toml with a reason"));
        }
    }
    for skip in &rules.bans.skip {
        let (name, version) = skip.krate.split_once('@').unwrap_or((&skip.krate, ""));
        if !versions
            .get(name)
            .is_some_and(|versions| versions.len() > 1 && versions.contains(version))
        {
            faults.push(format!("deny.toml lists {} as a duplicate, which it is not", skip.krate));
        }
        if skip.reason.as_deref().is_none_or(str::is_empty) {
            faults.push(format!("deny.toml lists {} without a reason", skip.krate));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_judged_by_its_expression() {
        let check = |licence: &str, expected: bool| {
            let package = Package {
                id: String::new(),
                name: "x".to_owned(),
                version: "1.0.0".to_owned(),
                license: Some(licence.to_owned()),
                source: None,
                dependencies: Vec::new(),
            };
            let allow = ["MIT".to_owned(), "Apache-2.0".to_owned(), "ISC".to_owned()];
            assert_eq!(licensed(&package, &allow), expected, "{licence}");
        };
        check("MIT", true);
        check("MIT/Apache-2.0", true);
        check("GPL-3.0-only OR MIT", true);
        check("GPL-3.0-only AND MIT", false);
        check("(MIT OR Apache-2.0) AND ISC", true);
        check("LGPL-2.1", false);
        check("proprietary nonsense", false);
    }

    #[test]
    fn a_ban_a_foreign_source_and_a_duplicate_are_found() {
        let rules: Rules = toml::from_str(
            r#"
            bans = { deny = [{ crate = "ring" }], skip = [{ crate = "b@1.0.0", reason = "old friend" }] }
            licenses = { allow = ["MIT"] }
            sources = { allow-registry = ["https://registry"] }
            "#,
        )
        .unwrap();
        let package = |name: &str, version: &str, source: &str| Package {
            id: String::new(),
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some("MIT".to_owned()),
            source: Some(source.to_owned()),
            dependencies: Vec::new(),
        };
        let good = "registry+https://registry";
        let packages = [
            package("ring", "1.0.0", good),
            package("far", "1.0.0", "git+https://elsewhere"),
            package("a", "1.0.0", good),
            package("a", "2.0.0", good),
            package("b", "1.0.0", good),
            package("b", "2.0.0", good),
        ];
        let faults = check(&rules, &packages.iter().collect::<Vec<_>>());
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
