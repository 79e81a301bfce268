//! `cargo xtask e2e`: the end-to-end tests on real Docker with as many jobs as one likes.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::metadata::root;

/// How much.
#[derive(Debug, Args)]
pub struct Options {
    /// How many jobs
    #[arg(long, default_value_t = 200)]
    jobs: u32,
}

/// Runs them one after the other; needs root and Docker.
pub fn run(options: &Options) -> Result<bool> {
    let status = Command::new("cargo")
        .args([
            "test",
            "--package",
            "dayfly",
            "--test",
            "e2e",
            "--",
            "--ignored",
            "--test-threads",
            "1",
            "--nocapture",
            "docker::",
        ])
        .env("DAYFLY_E2E_JOBS", options.jobs.to_string())
        .current_dir(root())
        .status()
        .context("cargo did not start")?;
    Ok(status.success())
}
