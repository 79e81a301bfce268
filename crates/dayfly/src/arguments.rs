//! What can be said on the command line. Words only; nothing is done here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Ephemeral self-hosted GitHub Actions runners: a fresh instance for each job.
#[derive(Debug, Parser)]
#[command(name = "dayfly", version, max_term_width = 100)]
pub struct Arguments {
    /// The daemon's socket; by default $XDG_RUNTIME_DIR/dayfly/dayfly.sock, else /run/dayfly/dayfly.sock
    #[arg(long, global = true, env = "DAYFLY_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// One JSON document on stdout, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// What is to be done
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows it all without an account and without a configuration, against a simulated GitHub
    Demo(Demo),
    /// Runs the daemon
    Run(Run),
    /// Tries everything that a configuration names, for real, and says how to mend what is wrong
    Check(Configured),
    /// What the daemon would do now, and why
    Plan,
    /// Pools, backends and scopes at a glance
    Status,
    /// Every runner, with its phase
    Runners,
    /// Every job that the daemon knows
    Jobs,
    /// One true sentence about a job, a pool or a runner
    Explain {
        /// A job's id or address, or the name of a pool or runner
        what: String,
    },
    /// Removes a runner
    Remove {
        /// The runner's name
        runner: String,
        /// Even if it runs a job, which then fails
        #[arg(long)]
        busy: bool,
    },
    /// Replaces a pool's warm and idle runners
    Flush {
        /// The pool's name
        pool: String,
        /// Busy runners too; their jobs fail
        #[arg(long)]
        busy: bool,
    },
    /// Takes no more jobs for a pool; busy runners finish
    Drain {
        /// The pool's name
        pool: String,
    },
    /// Takes jobs for a pool again
    Undrain {
        /// The pool's name
        pool: String,
    },
    /// Acts on a pool
    Pool {
        /// What to do with it
        #[command(subcommand)]
        action: Pool,
    },
    /// Acts on a backend's server
    Backend {
        /// What to do with it
        #[command(subcommand)]
        action: Backend,
    },
    /// Acts on the webhooks at GitHub that tell the daemon of jobs
    Webhook {
        /// What to do with them
        #[command(subcommand)]
        action: Webhook,
    },
    /// Acts on the store itself
    Store {
        /// What to do with it
        #[command(subcommand)]
        action: Store,
    },
    /// Prints the configuration that another program's would be, and what it could not carry over
    Import(Import),
    /// A simulated GitHub with an HTTP face
    #[command(hide = true)]
    GithubSim(GithubSim),
    /// Stands in for GitHub's runner program
    #[command(hide = true, disable_help_flag = true)]
    RunnerStub(RunnerStub),
    /// Hosts the instances of `noop` backends and plays their runners
    #[command(hide = true)]
    NoopLoad(NoopLoad),
}

/// What can be done with a pool.
#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Removes a pool's runners, its session and its scale set; busy runners finish first
    Delete {
        /// The pool's name
        pool: String,
    },
}

/// What can be done with a backend's server.
#[derive(Debug, Subcommand)]
pub enum Backend {
    /// Has a remote LXD or Incus trust dayfly's certificate, by the token of `lxc config trust add` or `incus config trust add`, read from stdin
    Trust(Trust),
}

/// `dayfly backend trust`
#[derive(Debug, Args)]
pub struct Trust {
    /// The backend's name
    pub backend: String,
    /// The configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: PathBuf,
}

/// What can be done with the webhooks.
#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// Makes the webhooks, or sets their secret and event anew
    Install(Configured),
    /// Whether they are there, and jobs can be read where one is lost
    Check(Configured),
    /// Removes the webhooks, also those of scopes whose pools no longer hear them
    Remove(Configured),
}

/// What can be done with the store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Says what is wrong with a store; changes nothing, also while a daemon uses it
    Check(StoreFile),
    /// Copies a store as it is at one moment, also while a daemon uses it
    Backup(Backup),
    /// Makes a lost store anew, of what engines and GitHub show
    Rebuild(Rebuild),
}

/// A store that is there.
#[derive(Debug, Args)]
pub struct StoreFile {
    /// The configuration file that names the store
    #[arg(short = 'c', long = "config", value_name = "FILE", required_unless_present = "store")]
    pub config: Option<PathBuf>,
    /// The store itself, such as a backup
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub store: Option<PathBuf>,
}

/// `dayfly store backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// What it copies
    #[command(flatten)]
    pub from: StoreFile,
    /// The copy, which must not exist
    pub to: PathBuf,
}

/// `dayfly store rebuild`
#[derive(Debug, Args)]
pub struct Rebuild {
    /// What it reads
    #[command(flatten)]
    pub configured: Configured,
    /// Whose store was lost; by default the one whose tag the instances bear
    #[arg(long, value_name = "ID")]
    pub controller: Option<uuid::Uuid>,
    /// Only say what was found and would be stored
    #[arg(long)]
    pub dry_run: bool,
    /// Rename the file that stands in the store's place, rather than refuse
    #[arg(long)]
    pub aside: bool,
}

/// `dayfly import`
#[derive(Debug, Args)]
pub struct Import {
    /// Which program's
    #[arg(value_enum)]
    pub from: ImportFrom,
    /// Its configuration file
    pub file: PathBuf,
    /// The organisation or repository that runners register in, where the file does not tell
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// garm: its SQLite database, where its pools are; by default the one that its configuration names
    #[arg(long, value_name = "PATH")]
    pub database: Option<PathBuf>,
}

/// Programs whose configuration can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFrom {
    /// LXDRunner's config.yml
    Lxdrunner,
    /// outrunner's config.yml
    Outrunner,
    /// GARM's config.toml, with the pools of its database
    Garm,
}

/// A command that reads a configuration.
#[derive(Debug, Args)]
pub struct Configured {
    /// The configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: PathBuf,
    /// Where the token of scopes without `auth` is: file:PATH, env:NAME or credential:NAME
    #[arg(long, value_name = "REFERENCE")]
    pub token: Option<String>,
}

/// `dayfly run`
#[derive(Debug, Args)]
pub struct Run {
    /// What it reads
    #[command(flatten)]
    pub configured: Configured,
    /// At the end, wait for busy runners instead of leaving them to the next start
    #[arg(long)]
    pub drain: bool,
    /// Append what happens to this file, a line of JSON for each event
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
}

/// `dayfly demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// How many jobs to queue
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub jobs: u32,
    /// How many runners there may be at once
    #[arg(long, default_value_t = 5, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max: u32,
    /// How many instances are kept booted beside those that jobs need
    #[arg(long, default_value_t = 0, value_name = "W", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub warm: u32,
    /// What makes the instances; by default Docker where its socket answers, else processes
    #[arg(long)]
    pub backend: Option<DemoBackend>,
    /// How long each job sleeps
    #[arg(long, default_value_t = 2, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub seconds_per_job: u32,
    /// End after the jobs, rather than stay until Ctrl-C
    #[arg(long)]
    pub once: bool,
}

/// What makes the demo's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoBackend {
    /// Containers
    Docker,
    /// Plain processes: not isolated from this machine
    Process,
}

/// `dayfly github-sim`
#[derive(Debug, Clone, Args)]
pub struct GithubSim {
    /// The port on 127.0.0.1, or an address with a port; 0: any free port
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: std::net::SocketAddr,
    /// A file that tells the port once the simulator answers
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Seed of all its ids and tokens
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `dayfly runner-stub`
#[derive(Debug, Args)]
pub struct RunnerStub {
    /// What GitHub's `run.sh` would be given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// `dayfly noop-load`
#[derive(Debug, Args)]
pub struct NoopLoad {
    /// The socket that it makes for the backend
    #[arg(long, value_name = "PATH")]
    pub listen: PathBuf,
}

impl Arguments {
    /// Reads the command line; a wrong one ends the program with exit code 2 and says what is right.
    #[must_use]
    pub fn read() -> Self {
        Self::parse()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_public_command_and_option_is_documented() {
        fn visit(command: &clap::Command, path: &str, text: &str, missing: &mut Vec<String>) {
            for sub in command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
            {
                let path = format!("{path} {}", sub.get_name());
                if !sub.has_subcommands() && !text.contains(&format!("## `{path}")) {
                    missing.push(path.clone());
                }
                visit(sub, &path, text, missing);
            }
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                if !text.contains(&format!("--{option}")) {
                    missing.push(format!("{path} --{option}"));
                }
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut missing = Vec::new();
        visit(&Arguments::command(), "dayfly", &text, &mut missing);
        assert!(missing.is_empty(), "not in docs/cli.md: {missing:?}");
    }

    #[test]
    fn a_wrong_command_line_is_refused() {
        let check = |line: &str, good: bool| {
            let outcome = Arguments::try_parse_from(line.split(' '));
            assert_eq!(outcome.is_ok(), good, "{line}: {outcome:?}");
        };
        check("dayfly status --json", true);
        check(
            "dayfly demo --jobs 3 --max 2 --warm 1 --backend process --seconds-per-job 0 --once --json",
            true,
        );
        check("dayfly run -c x.yaml --drain --token file:/run/token", true);
        check("dayfly runner-stub run --jitconfig abc", true);
        check("dayfly pool delete linux", true);
        check("dayfly webhook install -c x.yaml", true);
        check("dayfly webhook remove --config x.yaml --token file:t --json", true);
        check("dayfly webhook check", false);
        check("dayfly store check -c x.yaml", true);
        check("dayfly store check --store x.db", true);
        check("dayfly store check", false);
        check("dayfly store check -c x.yaml --store x.db", false);
        check("dayfly store backup -c x.yaml copy.db", true);
        check("dayfly store backup -c x.yaml", false);
        check(
            "dayfly store rebuild -c x.yaml --controller 00000000-0000-0000-0000-c0ffee001234",
            true,
        );
        check("dayfly store rebuild -c x.yaml --controller me", false);
        check("dayfly demo --jobs 0", false);
        check("dayfly demo --backend lxd", false);
        check("dayfly run", false);
        check("dayfly frobnicate", false);
    }
}
