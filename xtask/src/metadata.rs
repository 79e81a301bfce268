//! What `cargo metadata` tells of the workspace.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The platforms that dayfly is built for; dependencies of others are not looked at.
pub const PLATFORMS: [&str; 3] =
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin"];

/// The workspace with everything that it depends on.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package, ours and others'.
    pub packages: Vec<Package>,
    /// Ids of ours.
    pub workspace_members: Vec<String>,
    /// Where build products go.
    pub target_directory: PathBuf,
}

/// A package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
    /// Where it comes from; `None`: this checkout.
    pub source: Option<String>,
    /// What it declares to depend on.
    pub dependencies: Vec<Dependency>,
}

/// A declared dependency.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `dev`, `build`, or nothing for a normal one.
    pub kind: Option<String>,
    /// The directory, for a dependency within the workspace.
    pub path: Option<PathBuf>,
}

impl Metadata {
    /// Asks cargo.
    pub fn load() -> Result<Self> {
        let mut command = Command::new("cargo");
        command.args(["metadata", "--format-version", "1"]).current_dir(root());
        for platform in PLATFORMS {
            command.args(["--filter-platform", platform]);
        }
        let output = command.output().context("cargo metadata did not start")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout)
            .context("cargo metadata printed something else than its JSON")
    }

    /// What is really built on our platforms. `packages` holds more: also what an optional dependency would bring that
    /// nobody turns on.
    pub fn built(&self) -> Result<Vec<&Package>> {
        let mut command = Command::new("cargo");
        command
            .args(["tree", "--workspace", "--prefix", "none", "--format", "{p}"])
            .current_dir(root());
        for platform in PLATFORMS {
            command.args(["--target", platform]);
        }
        let output = command.output().context("cargo tree did not start")?;
        ensure!(
            output.status.success(),
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let built: BTreeSet<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        let is_built =
            |package: &&Package| built.contains(&format!("{} v{}", package.name, package.version));
        Ok(self.packages.iter().filter(is_built).collect())
    }

    /// The packages of this workspace.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

/// The checkout's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
