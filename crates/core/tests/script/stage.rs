//! The laboratory of a script, with the aliases of its runners.

use std::collections::BTreeMap;

use dayfly_core::{
    effect::{Effect, Flight, Outcome},
    model::{BackendName, Capacity, RegistrationId, RunnerName, Suffix},
};
use jiff::{SignedDuration, Timestamp};

use super::{show, words};
use crate::lab::{Lab, Passed};

/// How many passes one `wait` may take. A world that wants more never comes to rest.
const PASSES_MAX: usize = 10_000;

/// Runners that the world did not make count from here.
const STRANGERS: u64 = 1 << 45;

/// The laboratory of a script.
#[derive(Debug)]
pub struct Stage {
    pub lab: Lab,
    /// What the backends say that they have.
    pub capacities: BTreeMap<BackendName, Capacity>,
    pub start: Timestamp,
    /// What came of the command so far.
    pub out: Vec<String>,
    aliases: Vec<(RunnerName, String)>,
    named: u64,
    /// The newest call of each flight that was answered: for answers that come twice.
    answered: BTreeMap<Flight, (Effect, Timestamp)>,
    next_due: Option<Timestamp>,
}

impl Stage {
    pub fn new(lab: Lab) -> Self {
        Self {
            start: lab.now,
            lab,
            capacities: BTreeMap::new(),
            out: Vec::new(),
            aliases: Vec::new(),
            named: 0,
            answered: BTreeMap::new(),
            next_due: None,
        }
    }

    /// A runner by its alias: `r1` for the first that the world made, `o1@ci` for a stranger in pool ci.
    pub fn runner(&mut self, alias: &str) -> Result<RunnerName, String> {
        if let Some((name, _)) = self.aliases.iter().find(|(_, known)| known == alias) {
            return Ok(name.clone());
        }
        let stranger = alias.strip_prefix('o').and_then(|rest| rest.split_once('@'));
        let (number, pool) = stranger.ok_or_else(|| format!("no runner {alias} was made"))?;
        let suffix = Suffix::from_bits(STRANGERS + words::number::<u64>(number)?);
        let name = RunnerName::compose(&words::pool(pool)?, self.lab.world.controller(), suffix);
        self.aliases.push((name.clone(), alias.to_owned()));
        Ok(name)
    }

    /// The name behind an alias, where it is one.
    pub fn name_of(&self, alias: &str) -> Option<String> {
        let known = self.aliases.iter().find(|(_, known)| known == alias);
        known.map(|(name, _)| name.to_string())
    }

    /// GitHub's id of a runner's registration: 100 and the runner's number.
    pub fn registration_id(alias: &str) -> RegistrationId {
        let digits: String = alias.chars().filter(char::is_ascii_digit).collect();
        RegistrationId(100 + digits.parse::<i64>().unwrap_or(0))
    }

    /// A text with the runners' names replaced by their aliases.
    pub fn aliased(&self, text: &str) -> String {
        self.aliases
            .iter()
            .fold(text.to_owned(), |text, (name, alias)| text.replace(name.as_str(), alias))
    }

    /// The aliases of the runners that have a call under way which `wanted` picks.
    pub fn flying(&self, wanted: impl Fn(&Effect) -> bool) -> Vec<String> {
        let runner_of = |effect: &Effect| match effect {
            Effect::Instance { runner, .. } | Effect::Registration { runner, .. } => {
                Some(runner.to_string())
            }
            _ => None,
        };
        let mut found: Vec<(u64, String)> = self
            .lab
            .flights
            .values()
            .filter(|(effect, _)| wanted(effect))
            .filter_map(|(effect, _)| Some(self.aliased(&runner_of(effect)?)))
            .map(|alias| (u64::try_from(Self::registration_id(&alias).0).unwrap_or(0), alias))
            .collect();
        found.sort();
        found.into_iter().map(|(_, alias)| alias).collect()
    }

    /// The call under way that is to be answered, and when it began; with `again` the newest one that was answered.
    pub fn pending(&mut self, flight: &Flight, again: bool) -> Result<(Effect, Timestamp), String> {
        let none = || format!("no call of {flight:?} is under way");
        if again {
            return self.answered.get(flight).cloned().ok_or_else(none);
        }
        let call = self.lab.flights.get(flight).cloned().ok_or_else(none)?;
        self.answered.insert(flight.clone(), call.clone());
        Ok(call)
    }

    pub fn apply(&mut self, outcome: Outcome) {
        self.lab.apply(outcome);
    }

    /// One turn, told in the output.
    pub fn pass(&mut self) -> Result<(), String> {
        let passed = self.quiet_pass()?;
        show::passed(self, &passed);
        Ok(())
    }

    /// One turn, not told.
    pub fn quiet_pass(&mut self) -> Result<Passed, String> {
        let result = self.lab.pass();
        self.name_runners();
        let passed = result.map_err(|error| self.aliased(&error))?;
        self.next_due = passed.next_due;
        Ok(passed)
    }

    fn name_runners(&mut self) {
        while self.named < self.lab.ids.0 {
            self.named += 1;
            let suffix = Suffix::from_bits(self.named);
            for pool in self.lab.spec.pools.keys() {
                let name = RunnerName::compose(pool, self.lab.world.controller(), suffix);
                if self.lab.world.runner(&name).is_some() {
                    self.aliases.push((name, format!("r{}", self.named)));
                }
            }
        }
    }

    /// Lets time pass, with a turn whenever one is due.
    pub fn wait(&mut self, wait: SignedDuration) -> Result<(), String> {
        let until = self.lab.now + wait;
        for _ in 0..PASSES_MAX {
            let Some(due) = self.next_due.filter(|due| *due <= until) else {
                self.lab.now = until;
                let told = self.out.len();
                self.pass()?;
                return if self.out.len() == told {
                    Ok(())
                } else {
                    Err(format!("nobody was woken for: {}", self.out[told..].join("; ")))
                };
            };
            self.lab.now = due;
            let told = self.out.len();
            self.pass()?;
            if self.out.len() > told {
                let at = format!("at {}:", words::since(self.start, due));
                self.out.insert(told, at);
            }
        }
        Err("the world does not come to rest".into())
    }
}
