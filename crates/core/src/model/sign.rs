//! What a line of a runner's own output tells.

use serde::{Deserialize, Serialize};

/// What GitHub's runner program says of itself on its console. A hint: a job can forge it, so a sign may protect a
/// runner (busy) and may never condemn one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It waits for a job: "Listening for Jobs".
    Listening,
    /// It began a job: "Running job: NAME".
    JobStarted,
    /// It ended its job: "Job NAME completed with result: RESULT".
    JobCompleted,
    /// Its version is refused: "Runner version vX is deprecated and cannot receive messages."
    TooOld,
}

impl Sign {
    /// Reads a line of output, as GitHub's runner 2.336 writes it (`reference/protocol.md`, 4.4).
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        // A time stamp ("2026-11-21 08:00:00Z: ") stands before the text.
        if line.contains(": Running job: ") {
            Some(Self::JobStarted)
        } else if line.contains(": Job ") && line.contains(" completed with result: ") {
            Some(Self::JobCompleted)
        } else if line.contains("Listening for Jobs") {
            Some(Self::Listening)
        } else if line.contains("is deprecated and cannot receive messages") {
            Some(Self::TooOld)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runner_are_read() {
        let check = |line: &str, sign: Option<Sign>| assert_eq!(Sign::read(line), sign, "{line}");
        check("2026-11-21 08:00:00Z: Listening for Jobs", Some(Sign::Listening));
        check("2026-11-21 08:00:01Z: Running job: build (linux)", Some(Sign::JobStarted));
        check(
            "2026-11-21 08:00:09Z: Job build (linux) completed with result: Succeeded",
            Some(Sign::JobCompleted),
        );
        check("Runner version v2.1 is deprecated and cannot receive messages.", Some(Sign::TooOld));
        check("√ Connected to GitHub", None);
        check("", None);
    }
}
