//! `dayfly-sim`: runs seeds or a script, and tells what was found.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use dayfly_sim::{Campaign, Dials, Scenario, Tally, Violation, run, shrink};

/// A simulated job is many small allocations: this allocator makes the whole a sixth faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs dayfly against a simulated world, with every fault that is known, and checks its promises.
#[derive(Debug, Parser)]
#[command(name = "dayfly-sim")]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Jobs in all; 100 for each seed if left out.
    #[arg(long)]
    jobs: Option<usize>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Stop after so many minutes, done or not.
    #[arg(long)]
    minutes: Option<f64>,
    /// Print the one line of JSON and nothing else.
    #[arg(long)]
    json: bool,
    /// Run a script in place of seeds, and print its log.
    #[arg(long, conflicts_with_all = ["seeds", "jobs", "first_seed", "minutes"])]
    script: Option<PathBuf>,
    /// Print the log of every seed.
    #[arg(long)]
    log: bool,
    /// Shrink the first seed that fails to a script, with at most so many runs; 0: do not.
    #[arg(long, default_value_t = 400)]
    shrink: usize,
    /// Plant a bug, and run seeds until a check finds it.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME", value_parser = bug)]
    mutant: Option<dayfly_core::planted::Bug>,
    /// Print the names of the bugs that can be planted.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutants: bool,
}

#[cfg(feature = "mutants")]
fn bug(name: &str) -> Result<dayfly_core::planted::Bug, String> {
    let bug = dayfly_core::planted::Bug::ALL.iter().find(|bug| bug.name() == name);
    bug.copied().ok_or_else(|| "there is no such bug; `--mutants` prints their names".to_owned())
}

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "mutants")]
    if args.mutants {
        dayfly_core::planted::Bug::ALL.iter().for_each(|bug| println!("{}", bug.name()));
        return ExitCode::SUCCESS;
    }
    #[cfg(feature = "mutants")]
    if let Some(bug) = args.mutant {
        return told(mutant(&args, bug));
    }
    told(match &args.script {
        Some(path) => script(path),
        None => seeds(&args),
    })
}

fn told(found: Result<usize, String>) -> ExitCode {
    match found {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn script(path: &std::path::Path) -> Result<usize, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let scenario = Scenario::parse(&text).map_err(|error| error.to_string())?;
    let report = run(&scenario, true)?;
    for line in &report.log {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("{violation}");
    }
    Ok(report.violations.len())
}

#[expect(clippy::disallowed_methods, reason = "the speed of the simulation itself is measured")]
fn wall() -> std::time::Instant {
    std::time::Instant::now()
}

fn campaign(args: &Args) -> Campaign {
    let jobs = args.jobs.unwrap_or(usize::try_from(args.seeds).unwrap_or(usize::MAX) * 100);
    Campaign { first_seed: args.first_seed, seeds: args.seeds, jobs, dials: Dials::default() }
}

/// How many bugs were not found.
#[cfg(feature = "mutants")]
fn mutant(args: &Args, bug: dayfly_core::planted::Bug) -> Result<usize, String> {
    let limit = Duration::from_secs_f64(args.minutes.unwrap_or(5.0).max(0.0) * 60.0);
    let began = wall();
    let hunt = dayfly_sim::hunt(bug, &campaign(args), limit, || began.elapsed())?;
    println!("{}", serde_json::to_string(&hunt).map_err(|error| error.to_string())?);
    Ok(usize::from(!hunt.found))
}

fn seeds(args: &Args) -> Result<usize, String> {
    let campaign = campaign(args);
    let ends = args.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let (began, mut told) = (wall(), wall());
    let mut shrinking = Duration::ZERO;
    let mut tally = Tally::default();
    let mut shrunk = false;
    for seed in args.first_seed..args.first_seed.saturating_add(args.seeds) {
        let report = campaign.run_seed(seed, args.log)?;
        report.log.iter().for_each(|line| println!("{line}"));
        let violations = tally.add(report);
        for violation in &violations {
            eprintln!("seed {seed}: {violation}");
        }
        if let Some(first) = violations.first().filter(|_| !shrunk && args.shrink > 0) {
            shrunk = true;
            let from = wall();
            tell_script(&campaign, seed, first, args.shrink);
            shrinking += from.elapsed();
        }
        if !args.json && told.elapsed() >= PROGRESS {
            told = wall();
            let total = tally.total(began.elapsed().saturating_sub(shrinking));
            eprintln!(
                "{} of {} seeds, {} jobs, {} simulated hours, {} jobs/s, {} violations",
                total.seeds,
                args.seeds,
                total.jobs,
                total.simulated_hours,
                total.jobs_per_second,
                total.violations
            );
        }
        if ends.is_some_and(|ends| began.elapsed() >= ends) {
            break;
        }
    }
    let total = tally.total(began.elapsed().saturating_sub(shrinking));
    println!("{}", serde_json::to_string(&total).map_err(|error| error.to_string())?);
    Ok(total.violations)
}

fn tell_script(campaign: &Campaign, seed: u64, violation: &Violation, runs: usize) {
    let small = shrink(&campaign.scenario(seed), violation.check, runs);
    eprintln!("# {violation}\n{small}");
}
