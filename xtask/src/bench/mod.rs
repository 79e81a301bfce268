//! `cargo xtask bench NAME`: the figures of BENCHMARKS.md, from the release program with its default configuration.

mod burst;
mod calls;
mod clock;
mod disk;
mod docker;
mod figure;
mod idle;
mod load;
mod lxd;
mod lxd_image;
mod memory;
mod recover;
mod rig;
mod sender;
mod simulator;
mod webhook;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use self::{figure::Figure, rig::Bench};

/// What to measure, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// What to measure
    #[arg(required = true)]
    names: Vec<Name>,
    /// A line of JSON for each figure on stdout
    #[arg(long)]
    json: bool,
    /// How many runs; at least 5
    #[arg(long, default_value_t = figure::RUNS_MIN, value_parser = runs)]
    runs: usize,
}

fn runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(runs) if runs >= figure::RUNS_MIN => Ok(runs),
        _ => Err(format!("at least {} runs make a figure", figure::RUNS_MIN)),
    }
}

/// The benchmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Evidence of a job arrives → the create call begins
    EvidenceToCreate,
    /// 1,000 jobs at once → the last create call
    Burst,
    /// A job on a fresh container, over the bare container; one at a time, and ten at once
    DockerCold,
    /// The second half of `docker-cold` alone
    #[value(name = "docker-cold-10")]
    DockerCold10,
    /// A job on a warm container, over the bare container
    DockerWarm,
    /// A job on a fresh system container, over the same one without dayfly: busybox, and Debian
    LxdCold,
    /// A job on a warm system container of Debian, over the same one without dayfly
    LxdWarm,
    /// Requests to GitHub for each job
    CallsPerJob,
    /// The daemon's memory with 1,000 and with 10,000 live runners
    Memory,
    /// One changed job among 10,000 live runners
    #[value(name = "pass-10000")]
    Pass10000,
    /// A killed daemon with 1,000 live runners, until its first new create call
    Recover,
    /// A webhook arrives → the create call begins
    WebhookToCreate,
    /// Webhooks taken a second, each on disk before its answer
    WebhookIntake,
    /// 10,000 jobs by webhook → the last create call
    WebhookBurst,
    /// Requests to GitHub for each job that a webhook told of
    CallsPerJobWebhook,
    /// Requests an hour of idle pools that hear webhooks
    IdleCalls,
    /// `webhook-to-create` beside a backend that hangs on every call, over without it
    SickBackendRatio,
    /// All of them
    All,
}

impl Name {
    /// The benchmarks that a name stands for.
    fn each(&self) -> Vec<Self> {
        match self {
            Self::All => {
                let others = Self::value_variants().iter().copied();
                others.filter(|name| !matches!(name, Self::All | Self::DockerCold10)).collect()
            }
            one => vec![*one],
        }
    }
}

/// Measures and prints each figure as it is made.
pub fn run(options: &Options) -> Result<bool> {
    // A second installation says that the first one serves.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench::prepare()?;
    for name in options.names.iter().flat_map(Name::each) {
        let disk_sync_ms_p99 = disk::sync_ms_p99(&bench.disk)?;
        let figures = runtime.block_on(measure(name, &bench, options.runs)).with_context(|| {
            format!(
                "benchmark {}",
                name.to_possible_value()
                    .map_or_else(String::new, |value| value.get_name().to_owned())
            )
        })?;
        for figure in figures {
            let figure = Figure { disk_sync_ms_p99: Some(disk_sync_ms_p99), ..figure };
            if options.json {
                println!("{}", serde_json::to_string(&figure)?);
            } else {
                let Figure { name, value, n, min, max, .. } = &figure;
                println!(
                    "{name}: {value:.3} ({min:.3} to {max:.3} in {n} runs; the disk syncs in {disk_sync_ms_p99:.2} ms, p99)"
                );
            }
        }
    }
    Ok(true)
}

async fn measure(name: Name, bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    Ok(match name {
        Name::EvidenceToCreate => burst::evidence_to_create(bench, runs).await?,
        Name::Burst => burst::burst(bench, runs).await?,
        Name::DockerCold => {
            let mut figures = docker::cold(bench, runs, 1).await?;
            figures.extend(docker::cold(bench, runs, 10).await?);
            figures
        }
        Name::DockerCold10 => docker::cold(bench, runs, 10).await?,
        Name::DockerWarm => docker::warm(bench, runs).await?,
        Name::LxdCold => lxd::cold(bench, runs).await?,
        Name::LxdWarm => lxd::warm(bench, runs).await?,
        Name::CallsPerJob => calls::per_job(bench, runs).await?,
        Name::Memory => memory::memory(bench, runs).await?,
        Name::Pass10000 => memory::pass(bench, runs).await?,
        Name::Recover => recover::recover(bench, runs).await?,
        Name::WebhookToCreate => webhook::to_create(bench, runs).await?,
        Name::WebhookIntake => webhook::intake(bench, runs).await?,
        Name::WebhookBurst => webhook::burst(bench, runs).await?,
        Name::CallsPerJobWebhook => calls::per_job_by_webhook(bench, runs).await?,
        Name::IdleCalls => idle::calls()?,
        Name::SickBackendRatio => webhook::sick_backend(bench, runs).await?,
        // `run` has put the others in its place.
        Name::All => Vec::new(),
    })
}
