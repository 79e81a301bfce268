//! What it costs to hear webhooks where nothing happens: counted in the simulation, where hours take a second.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::figure::{Figure, Unit};
use crate::{
    metadata::{Metadata, root},
    process::run,
};

/// Twenty pools, twenty repositories, an App, and nothing that happens.
const SCRIPT: &str = "crates/sim/scripts/webhook-pools-are-idle.txt";

/// The hours that are counted, in seconds after the start: the first is that of the start.
const COUNTED_S: std::ops::Range<f64> = 3_600.0..46_800.0;

/// `idle-calls`: requests an hour but those that GitHub answered 304, which it does not count.
pub fn calls() -> Result<Vec<Figure>> {
    run(Command::new("cargo")
        .args(["build", "--release", "--quiet", "--package", "dayfly-sim"])
        .current_dir(root()))?;
    let program = Metadata::load()?.target_directory.join("release").join("dayfly-sim");
    let output = Command::new(program).arg("--script").arg(SCRIPT).current_dir(root()).output()?;
    ensure!(output.status.success(), "the simulation failed: {output:?}");
    let log = String::from_utf8(output.stdout).context("the simulation's log")?;
    let requests = log.lines().filter_map(request);
    let counted = requests.filter(|(at, status)| COUNTED_S.contains(at) && *status != 304).count();
    let hours = (COUNTED_S.end - COUNTED_S.start) / 3_600.0;
    Ok(vec![Figure::counted("idle-calls", Unit::One, counted as f64 / hours)])
}

/// When a request was made, and how it was answered, where the line tells of one: `12.345 GET /path -> 200`.
fn request(line: &str) -> Option<(f64, u16)> {
    let mut words = line.split_whitespace();
    let (at, method) = (words.next()?.parse().ok()?, words.next()?);
    let status = line.rsplit_once(" -> ")?.1.parse().ok()?;
    matches!(method, "GET" | "POST" | "PATCH" | "PUT" | "DELETE").then_some((at, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_tell_of_requests() {
        let check = |line: &str, expected: Option<(f64, u16)>| {
            assert_eq!(request(line), expected, "{line}");
        };
        check("   3600.125 GET /api/v3/orgs/acme/repos -> 304", Some((3600.125, 304)));
        check(
            "      0.175 POST /api/v3/app/installations/5/access_tokens -> 201",
            Some((0.175, 201)),
        );
        check("  14461.000 commit 5: 0 rows", None);
        check("      1.000   daemon: {\"event\":\"x -> 200\"}", None);
        check("", None);
    }
}
