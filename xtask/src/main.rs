//! The project's own tasks: `cargo xtask test`, `tidy`, `bench`, `e2e`, `mutants`.

mod bench;
mod e2e;
mod lxd;
mod metadata;
mod mutants;
mod process;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that must hold: formatting, lints, tests with real engines, tidiness.
    Test(test::Options),
    /// The rules that no compiler checks: crate edges, licences, files, documents.
    Tidy,
    /// The daemon and the engine die while jobs run on real Docker.
    E2e(e2e::Options),
    /// Daemon, engine, GitHub and disk fail by chance, for a quarter of an hour.
    Soak(soak::Options),
    /// The figures of BENCHMARKS.md.
    Bench(bench::Options),
    /// Planted bugs, each of which the simulation has to find.
    Mutants(mutants::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Tidy => tidy::run(),
        Task::E2e(options) => e2e::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Mutants(options) => mutants::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
