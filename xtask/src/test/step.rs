//! The steps of a test run, and the count of what came of them.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::needs::Needs;
use crate::metadata::root;

/// What passed, failed and was skipped so far. A step that is not a test suite counts as one test.
#[derive(Debug, Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    /// Runs a cargo command as one step.
    pub fn cargo(&mut self, name: &str, arguments: &[&str], needs: &Needs) {
        println!("== {name}");
        let status = command(arguments, needs).status();
        let outcome = status.map(|status| status.success()).context("cargo did not start");
        self.outcome(name, outcome);
    }

    /// Counts a step by its outcome.
    pub fn outcome(&mut self, name: &str, outcome: Result<bool>) {
        match outcome {
            Ok(true) => self.passed += 1,
            Ok(false) => {
                eprintln!("{name}: failed");
                self.failed += 1;
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// Runs `cargo test` and adds up what its suites report.
    pub fn tests(&mut self, arguments: &[&str], needs: &Needs) {
        println!("== tests");
        if let Err(error) = self.count_tests(arguments, needs) {
            eprintln!("tests: {error:#}");
            self.failed += 1;
        }
    }

    fn count_tests(&mut self, arguments: &[&str], needs: &Needs) -> Result<()> {
        let mut child = command(arguments, needs)
            .stdout(Stdio::piped())
            .spawn()
            .context("cargo did not start")?;
        let before = self.failed;
        let output = child.stdout.take().context("cargo's output")?;
        let mut screen = std::io::stdout();
        for line in BufReader::new(output).lines() {
            let line = line.context("cargo's output")?;
            writeln!(screen, "{line}")?;
            if let Some(counts) = counts(&line) {
                self.passed += counts[0];
                self.failed += counts[1];
                self.skipped += counts[2];
            }
        }
        // A suite that does not build, or dies, reports no count.
        if !child.wait()?.success() && self.failed == before {
            self.failed += 1;
        }
        Ok(())
    }

    /// Whether the run is a success.
    pub fn passed_all(&self, no_skips: bool) -> bool {
        if no_skips && self.skipped > 0 {
            eprintln!("skipped tests count as failed (--no-skips)");
        }
        self.failed == 0 && !(no_skips && self.skipped > 0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

fn command(arguments: &[&str], needs: &Needs) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    needs.tell(&mut command);
    command
}

/// Passed, failed and ignored, from `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn counts(line: &str) -> Option<[u64; 3]> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        counts
            .split(';')
            .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
            .unwrap_or(0)
    };
    Some([count("passed"), count("failed"), count("ignored")])
}

/// Whether a program can be found.
pub fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suites_report_is_read() {
        let check =
            |line: &str, expected: Option<[u64; 3]>| assert_eq!(counts(line), expected, "{line}");
        check(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out",
            Some([12, 0, 3]),
        );
        check("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured", Some([1, 2, 0]));
        check("test tidy ... ok", None);
        check("running 3 tests", None);
    }

    #[test]
    fn a_skip_fails_only_where_it_is_forbidden() {
        let tally = Tally { passed: 3, failed: 0, skipped: 1 };
        assert!(tally.passed_all(false));
        assert!(!tally.passed_all(true));
        assert!(!Tally { failed: 1, ..Tally::default() }.passed_all(false));
    }
}
