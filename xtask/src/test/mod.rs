//! `cargo xtask test`: everything that must hold, in one run, with its needs met where the machine lets us.

mod needs;
pub mod step;

use anyhow::Result;
use clap::Args;

use self::{needs::Needs, step::Tally};
use crate::{metadata::Metadata, tidy};

/// How the tests are run.
#[derive(Debug, Args)]
pub struct Options {
    /// A test that is skipped for want of an engine counts as failed.
    #[arg(long)]
    no_skips: bool,
}

/// Runs every step, also after one failed; `false` where any failed.
pub fn run(options: &Options) -> Result<bool> {
    let metadata = Metadata::load()?;
    // What it starts, it ends when it is dropped: also where a step fails.
    let needs = Needs::meet(&metadata.target_directory)?;
    let mut tally = Tally::default();

    tally.cargo("formatting", &["fmt", "--all", "--check"], &needs);
    tally.cargo(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        &needs,
    );
    // `cargo xtask soak` takes a quarter of an hour, and is run by itself.
    let mut tests =
        vec!["test", "--workspace", "--locked", "--no-fail-fast", "--", "--skip", "soak::"];
    if needs.all_met() {
        tests.push("--include-ignored");
    }
    tally.tests(&tests, &needs);
    tally.outcome("tidiness", tidy::run());
    if step::is_installed("cargo-deny") {
        tally.cargo(
            "cargo deny",
            &["deny", "--offline", "check", "bans", "licenses", "sources"],
            &needs,
        );
    } else {
        println!(
            "cargo-deny is not installed: its bans, licences and sources were checked by tidy instead"
        );
    }

    drop(needs.report());
    println!("{tally}");
    Ok(tally.passed_all(options.no_skips))
}
