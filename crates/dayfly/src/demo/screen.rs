//! What the demo shows while it runs: a line for each job's start and end, and one that changes for the whole.

use std::{collections::BTreeMap, io::IsTerminal, io::Write};

use super::simulator::{Job, State};

/// Shows it on stdout, or, where stdout belongs to a program, on stderr.
pub struct Screen {
    json: bool,
    /// A terminal's last line can be written again.
    rewrites: bool,
    phases: BTreeMap<i64, String>,
    last: String,
}

impl Screen {
    /// Nothing is shown yet.
    pub fn new(json: bool) -> Self {
        let rewrites =
            if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        Self { json, rewrites, phases: BTreeMap::new(), last: String::new() }
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        let clear = if self.rewrites && !self.last.is_empty() { "\r\x1b[K" } else { "" };
        self.write(&format!("{clear}{text}\n"));
        if self.rewrites && !self.last.is_empty() {
            let last = self.last.clone();
            self.write(&last);
        }
    }

    /// What changed; `false` where nothing did.
    pub fn show(&mut self, state: &State) -> bool {
        let mut changed = false;
        for job in &state.jobs {
            let before = self.phases.insert(job.id, job.phase.clone());
            changed |= before.as_ref() != Some(&job.phase);
            if before.as_ref() != Some(&job.phase)
                && let Some(line) = line(job)
            {
                self.say(&line);
            }
        }
        let line = counts(state);
        if line != self.last {
            changed = true;
            if self.rewrites {
                self.write(&format!("\r\x1b[K{line}"));
            } else {
                self.write(&format!("{line}\n"));
            }
            self.last = line;
        }
        changed
    }

    /// Ends the line that changes.
    pub fn finish(&mut self) {
        if self.rewrites && !std::mem::take(&mut self.last).is_empty() {
            self.write("\n");
        }
    }

    fn write(&self, text: &str) {
        // Nobody may look any more: that ends no demo.
        let _ = if self.json {
            std::io::stderr().write_all(text.as_bytes())
        } else {
            let mut out = std::io::stdout();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }
}

fn line(job: &Job) -> Option<String> {
    let runner = job.runner_name.as_deref().unwrap_or("no runner");
    let (name, phase) = (&job.name, job.phase.as_str());
    match (phase, job.started_at, job.completed_at) {
        ("running", Some(started), _) => Some(format!(
            "{name} runs on {runner}, {:.2} s after it was queued",
            started - job.queued_at
        )),
        ("success" | "failure" | "cancelled", Some(started), Some(completed)) => {
            Some(format!("{name}: {phase} on {runner} after {:.2} s", completed - started))
        }
        ("success" | "failure" | "cancelled", _, _) => {
            Some(format!("{name}: {phase} without a runner"))
        }
        _ => None,
    }
}

fn counts(state: &State) -> String {
    let count = |phases: &[&str]| {
        state.jobs.iter().filter(|job| phases.contains(&job.phase.as_str())).count()
    };
    format!(
        "[{} jobs queued, {} running, {} ended; {} runners registered]",
        count(&["waiting", "assigned", "offered"]),
        count(&["running"]),
        count(&["success", "failure", "cancelled"]),
        state.runners.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_when_it_starts_and_when_it_ends() {
        let job = |phase: &str, started: Option<f64>, completed: Option<f64>| Job {
            id: 1,
            name: "job (1)".to_owned(),
            phase: phase.to_owned(),
            runner_name: started.map(|_| "demo-x".to_owned()),
            queued_at: 1.0,
            started_at: started,
            completed_at: completed,
        };
        let check = |job: Job, expected: Option<&str>| assert_eq!(line(&job).as_deref(), expected);
        check(job("waiting", None, None), None);
        check(
            job("running", Some(1.5), None),
            Some("job (1) runs on demo-x, 0.50 s after it was queued"),
        );
        check(
            job("success", Some(1.5), Some(3.5)),
            Some("job (1): success on demo-x after 2.00 s"),
        );
        check(job("cancelled", None, Some(3.5)), Some("job (1): cancelled without a runner"));
    }
}
