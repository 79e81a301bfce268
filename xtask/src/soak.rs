//! `cargo xtask soak`: everything dies again and again on real Docker, by chance.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::metadata::root;

/// How long, and which chances.
#[derive(Debug, Args)]
pub struct Options {
    /// How long the faults go on
    #[arg(long, default_value_t = 15)]
    minutes: u32,
    /// The seed that an earlier run printed; by default a new one
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs it; needs root and Docker.
pub fn run(options: &Options) -> Result<bool> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--package", "dayfly", "--test", "e2e", "--", "--ignored", "--nocapture"])
        .arg("soak::")
        .env("DAYFLY_SOAK_MINUTES", options.minutes.to_string())
        .current_dir(root());
    if let Some(seed) = options.seed {
        cargo.env("DAYFLY_SOAK_SEED", seed.to_string());
    }
    Ok(cargo.status().context("cargo did not start")?.success())
}
