//! What goes wrong at GitHub because the scenario says so.

use std::{collections::BTreeMap, time::Duration};

use dayfly_core::model::RunnerName;
use dayfly_github_sim::{Action, FaultSpec, JobPlace};

use super::{Happening, State, github::ENTRIES};
use crate::scenario::{ALL_ENTRIES, GithubFault};

impl State {
    /// Sets a fault.
    pub(crate) fn set_github_fault(&mut self, route: &str, count: u64, fault: &GithubFault) {
        let ms = |duration: &Duration| duration.as_millis() as u64;
        let status = |status: u16| Action::Status {
            status,
            retry_after: None,
            body: None,
            headers: BTreeMap::new(),
        };
        let (name, action) = match fault {
            GithubFault::Status(401) => ("github-401", status(401)),
            GithubFault::Status(code) => ("github-5xx", status(*code)),
            GithubFault::Dropped => ("github-dropped", Action::ResetBefore),
            GithubFault::AnswerLost => ("github-answer-lost", Action::ResetAfter),
            GithubFault::Late(by) => ("github-late", Action::DelayAfter { ms: ms(by) }),
            GithubFault::Overtaken(by) => ("github-overtaken", Action::DelayBefore { ms: ms(by) }),
            GithubFault::Twice => ("github-twice", Action::Twice),
            GithubFault::Empty => ("github-empty", Action::Empty200),
            GithubFault::PrimaryLimit(wait) => {
                ("github-primary-limit", Action::PrimaryLimit { reset_s: wait.as_secs() })
            }
            GithubFault::SecondaryLimit(wait) => (
                "github-secondary-limit",
                Action::SecondaryLimit { retry_after: Some(wait.as_secs()) },
            ),
            GithubFault::Conflict => ("github-conflict", Action::SessionConflict),
            GithubFault::ZeroStatistics => ("github-wrong-statistics", Action::ZeroStatistics),
            GithubFault::StaleStatistics => ("github-stale-statistics", Action::StaleStatistics),
            GithubFault::Reversed => ("github-reversed-entries", Action::ReverseEntries),
            GithubFault::Stuck(by) => ("github-stuck-poll", Action::StuckPoll { ms: ms(by) }),
            GithubFault::Lose(kind) if kind == ALL_ENTRIES => {
                let kinds = ENTRIES.map(str::to_owned).to_vec();
                ("github-lost-messages", Action::LoseEntries { kinds })
            }
            GithubFault::Lose(kind) => {
                ("github-lost-entries", Action::LoseEntries { kinds: vec![kind.clone()] })
            }
            GithubFault::Poison => ("github-poison", Action::PoisonEntry),
            GithubFault::Truncated => ("github-truncated", Action::Truncate { bytes: 20 }),
            GithubFault::Unsent => ("github-delivery-unsent", Action::Lose),
            GithubFault::Shuffled(by) => {
                ("github-deliveries-shuffled", Action::Shuffle { ms: ms(by) })
            }
        };
        let spec = FaultSpec {
            route: route.to_owned(),
            action,
            count: Some(count),
            skip: 0,
            probability: None,
        };
        self.sim.set_fault(spec);
        self.count(name);
    }

    /// Nobody reaches GitHub for a while.
    pub(crate) fn github_outage(&mut self, lasts: Duration, answers: bool) {
        let action = if answers {
            Action::Status { status: 503, retry_after: None, body: None, headers: BTreeMap::new() }
        } else {
            Action::ResetBefore
        };
        let spec =
            FaultSpec { route: "*".to_owned(), action, count: None, skip: 0, probability: None };
        let id = self.sim.set_fault(spec);
        self.count("github-outage");
        self.github.away_minutes += lasts.as_secs() / 60;
        let at = self.after(lasts);
        self.calendar.put(at, Happening::FaultEnds(vec![id]));
    }

    /// GitHub removes a registration.
    pub(crate) fn lose_runner(&mut self, nth: usize, busy: bool) {
        let tag = self.controller;
        let fitting: Vec<_> = self
            .sim
            .every_runner()
            .into_iter()
            .filter(|runner| {
                runner.job.is_some() == busy
                    && RunnerName::new(&runner.name).is_ok_and(|name| name.is_of(tag))
            })
            .collect();
        let Some(runner) = fitting.get(nth % fitting.len().max(1)) else { return };
        let running = runner.job.filter(|job| {
            self.sim.job(*job).is_some_and(|job| matches!(job.place, JobPlace::Running(_)))
        });
        if let Some(job) = running {
            let known = RunnerName::new(&runner.name)
                .ok()
                .and_then(|name| self.disk.row(&name))
                .is_some_and(dayfly_core::model::Runner::is_busy);
            self.github.removed_busy.insert(runner.name.clone(), known);
            self.jobs.excuse(job, "GitHub removed its runner");
        }
        self.count(if busy { "github-busy-runner-removed" } else { "github-runner-removed" });
        let now = self.github_now();
        let name = runner.name.clone();
        self.note(format_args!("GitHub removes runner {name}"));
        self.sim.lose_runner(now, runner.id);
        self.settle_github();
    }
}
