//! `cargo xtask mutants`: plants one bug after the other (`dayfly_core::planted`), and sees whether the simulation finds it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::metadata::{Metadata, root};

/// More seeds than the time for a bug ever lets run; each has a hundred jobs.
const SEEDS: u64 = 1_000_000;

/// Which bugs, and how they are told.
#[derive(Debug, Args)]
pub struct Options {
    /// Names of bugs; all if left out
    names: Vec<String>,
    /// A line of JSON for each bug on stdout
    #[arg(long)]
    json: bool,
    /// How many minutes the simulation has for each
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
}

/// What the simulation says of a bug.
#[derive(Debug, Deserialize)]
struct Hunt {
    name: String,
    found: bool,
    seed: Option<u64>,
    seconds: f64,
    check: Option<String>,
}

/// The line for programs.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    found: bool,
    seed: Option<u64>,
    seconds: f64,
}

/// Plants the bugs; `true` where each was found.
pub fn run(options: &Options) -> Result<bool> {
    let sim = build()?;
    let known = ask(&sim, &["--mutants"])?;
    let known: Vec<&str> = known.lines().collect();
    if let Some(name) = options.names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no bug `{name}` to plant; there are: {}", known.join(", "));
    }
    let wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|of| of == name);
    let mut all = true;
    for name in known.into_iter().filter(|name| wanted(name)) {
        let hunt = hunt(&sim, name, options)?;
        all &= hunt.found;
        let Hunt { name, found, seed, seconds, check } = &hunt;
        if options.json {
            let line = Line { name, found: *found, seed: *seed, seconds: *seconds };
            println!("{}", serde_json::to_string(&line)?);
        } else {
            let seed = seed.map_or_else(|| "-".to_owned(), |seed| seed.to_string());
            let check = check.as_deref().unwrap_or("not found");
            println!("{name:<32} {check:<32} seed {seed:>5} {seconds:>7.1} s");
        }
    }
    Ok(all)
}

/// Builds the simulation with the bugs in it; its program.
fn build() -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--profile", "mutants", "--package", "dayfly-sim"])
        .args(["--features", "mutants"])
        .current_dir(root())
        .status()
        .context("cargo did not start")?;
    ensure!(status.success(), "the simulation could not be built with planted bugs");
    Ok(Metadata::load()?.target_directory.join("mutants/dayfly-sim"))
}

fn hunt(sim: &Path, name: &str, options: &Options) -> Result<Hunt> {
    let (seeds, jobs) = (SEEDS.to_string(), (SEEDS * 100).to_string());
    let (minutes, first) = (options.minutes.to_string(), options.first_seed.to_string());
    let told = ask(
        sim,
        &[
            "--mutant",
            name,
            "--seeds",
            &seeds,
            "--jobs",
            &jobs,
            "--minutes",
            &minutes,
            "--first-seed",
            &first,
        ],
    )?;
    serde_json::from_str(&told).with_context(|| format!("the simulation told of {name}: {told}"))
}

/// What the simulation prints; its exit code tells no more than that.
fn ask(sim: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(sim)
        .args(arguments)
        .output()
        .with_context(|| format!("{} did not start", sim.display()))?;
    ensure!(
        output.status.code().is_some_and(|code| code < 2),
        "{} {} failed: {}",
        sim.display(),
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
