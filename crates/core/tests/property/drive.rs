//! Chaos, and the quiet after it.

use std::collections::BTreeMap;

use dayfly_core::{
    effect::{Command, Effect, Flight, Outcome},
    model::{DemandSource, JobEntryKind, JobId, Limits, RunnerName, Spec},
    report,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    answers::Fate,
    outside::{JobTruth, Outside, Process},
    tape::Tape,
};
use crate::lab::Lab;

/// How long the quiet may take: longer than every deadline that a runner can have to sit out one after the other.
const QUIET: SignedDuration = SignedDuration::from_hours(3);

/// How much time passes between two turns of the quiet.
const TURN: SignedDuration = SignedDuration::from_secs(10);

/// How many lines of the log a failure shows.
const LOG_SHOWN: usize = 150;

/// A controller and the world outside.
#[derive(Debug)]
pub struct Run {
    pub lab: Lab,
    pub outside: Outside,
    /// What happened, for the one who reads a failure.
    pub log: Vec<String>,
    next_due: Option<Timestamp>,
}

impl Run {
    pub fn new(lab: Lab, max: usize) -> Result<Self, String> {
        let mut pools = lab.spec.pools.values();
        let alone = pools.clone().all(|pool| pool.scale_set().is_none());
        let webhooks = pools.all(|pool| pool.demand == DemandSource::Webhook);
        let mut outside = Outside::new(max, alone, webhooks);
        outside.most_on = lab
            .spec
            .budgets
            .iter()
            .map(|(name, of)| {
                // Every instance takes two processors.
                let cpus = of.cpu_millis.unwrap_or(u64::MAX) / 2_000;
                (name.clone(), usize::try_from(cpus).unwrap_or(usize::MAX))
            })
            .collect();
        let mut run = Self { lab, outside, log: Vec::new(), next_due: None };
        run.pass()?;
        Ok(run)
    }

    /// One turn. A poll that is to be stopped stops at once.
    fn pass(&mut self) -> Result<(), String> {
        self.outside.tick(self.lab.now);
        let passed = self.lab.pass()?;
        self.next_due = passed.next_due;
        self.log.extend(passed.events.iter().map(|event| format!("  * {:?}", event.kind)));
        self.log.extend(passed.effects.iter().map(|effect| format!("  -> {effect:?}")));
        let stopped = passed.effects.iter().filter_map(|effect| match effect {
            Effect::StopPoll { pool } => Some(pool.clone()),
            _ => None,
        });
        for pool in stopped.collect::<Vec<_>>() {
            self.happens(Outcome::PollStopped { pool })?;
        }
        self.outside.check()
    }

    fn happens(&mut self, outcome: Outcome) -> Result<(), String> {
        self.log.push(format!("{outcome:?}"));
        self.lab.apply(outcome);
        self.pass()
    }

    /// Something happens, of all that may.
    pub fn step(&mut self, tape: &mut Tape) -> Result<(), String> {
        match tape.pick(48) {
            0..=15 => self.answer(tape),
            16..=27 => self.progress(tape),
            28..=31 => self.queue(tape),
            32 | 33 => self.wait(tape.pick(20)),
            34 => self.wait(tape.pick(1_200)),
            35 => self.crash(tape),
            36 => self.stale_news(tape),
            37 => self.misfortune(tape),
            38..=40 => self.user(tape),
            42 | 43 => self.delivery(tape),
            41 => {
                self.lab.disk_full = tape.chance(30);
                self.pass()
            }
            _ => self.answer_all(),
        }
    }

    fn answer(&mut self, tape: &mut Tape) -> Result<(), String> {
        let calls: Vec<_> = self.lab.flights.keys().cloned().collect();
        let Some(flight) = calls.get(tape.pick(calls.len())).cloned() else { return Ok(()) };
        let fate = match tape.pick(10) {
            8 => Fate::AnswerLost,
            9 => Fate::Fails,
            _ => Fate::Works,
        };
        let zero_counts = tape.chance(10);
        self.land(&flight, fate, zero_counts)
    }

    fn land(&mut self, flight: &Flight, fate: Fate, zero_counts: bool) -> Result<(), String> {
        let Some((effect, began_at)) = self.lab.flights.get(flight).cloned() else { return Ok(()) };
        self.log.push(format!("{fate:?}:"));
        self.outside.tick(self.lab.now);
        match self.outside.answer(&effect, began_at, fate, zero_counts)? {
            Some(outcome) => self.happens(outcome),
            None => Ok(()),
        }
    }

    /// Every call works, once.
    fn answer_all(&mut self) -> Result<(), String> {
        for flight in self.lab.flights.keys().cloned().collect::<Vec<_>>() {
            self.land(&flight, Fate::Works, false)?;
        }
        Ok(())
    }

    fn some_instance(&self, tape: &mut Tape) -> Option<RunnerName> {
        let names: Vec<_> = self.outside.instances.keys().collect();
        names.get(tape.pick(names.len())).map(|name| (*name).clone())
    }

    /// A process goes on by itself; what it says may be lost.
    fn progress(&mut self, tape: &mut Tape) -> Result<(), String> {
        let Some(name) = self.some_instance(tape) else { return Ok(()) };
        match self.outside.step(&name) {
            Some(said) if !tape.chance(20) => self.happens(said),
            Some(said) => {
                self.log.push(format!("lost: {said:?}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A delivery arrives, in any order; or is lost, or comes again later.
    fn delivery(&mut self, tape: &mut Tape) -> Result<(), String> {
        let waiting = self.outside.deliveries.len();
        if waiting == 0 {
            return Ok(());
        }
        let which = tape.pick(waiting);
        match tape.pick(10) {
            8 => {
                let lost = self.outside.deliveries.remove(which);
                self.log.push(format!("lost: {lost:?}"));
                Ok(())
            }
            9 => {
                let told = self.outside.deliveries[which].clone();
                self.happens(Outcome::Evidence(told.into()))
            }
            _ => {
                let told = self.outside.deliveries.remove(which);
                self.happens(Outcome::Evidence(told.into()))
            }
        }
    }

    fn queue(&mut self, tape: &mut Tape) -> Result<(), String> {
        if self.outside.jobs.len() < 30 && !tape.chance(20) {
            let id = JobId(format!("j{}", self.outside.id()).into());
            self.log.push(format!("queued: {id}"));
            self.outside.jobs.insert(id.clone(), JobTruth::Queued);
            if self.outside.alone {
                self.outside.tell(JobEntryKind::Available, &id);
            }
            return Ok(());
        }
        // A job is cancelled before a runner took it.
        let waits = |job: &JobTruth| matches!(job, JobTruth::Queued | JobTruth::Assigned);
        let found = self.outside.jobs.iter().find(|(_, job)| waits(job));
        if let Some((id, was)) = found.map(|(id, job)| (id.clone(), job.clone())) {
            self.log.push(format!("cancelled: {id}"));
            self.outside.jobs.insert(id.clone(), JobTruth::Done);
            if was == JobTruth::Assigned || self.outside.alone {
                let result = "canceled".into();
                self.outside.tell(JobEntryKind::Completed { result, runner: String::new() }, &id);
            }
        }
        Ok(())
    }

    fn wait(&mut self, seconds: usize) -> Result<(), String> {
        self.lab.now += SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        self.log.push(format!("{seconds} s pass"));
        self.pass()
    }

    /// The daemon dies. Calls under way may have their effect or not.
    fn crash(&mut self, tape: &mut Tape) -> Result<(), String> {
        let calls: Vec<_> = self.lab.flights.values().cloned().collect();
        for (effect, began_at) in calls {
            if tape.chance(50) {
                self.log.push(format!("in the crash: {effect:?}"));
                self.outside.answer(&effect, began_at, Fate::AnswerLost, false)?;
            }
        }
        self.outside.held.clear();
        if tape.chance(10) {
            self.lab.now -= SignedDuration::from_mins(30);
        }
        self.log.push("crash".into());
        self.lab.crash();
        self.pass()
    }

    /// What was true is told once more.
    fn stale_news(&mut self, tape: &mut Tape) -> Result<(), String> {
        let Some(runner) = self.some_instance(tape) else { return Ok(()) };
        if self.outside.instances.get(&runner) == Some(&Process::Booting) {
            return Ok(());
        }
        self.happens(Outcome::InstanceReady { runner })
    }

    /// Behind our back: GitHub removes a runner or evicts the session, the engine loses an instance.
    fn misfortune(&mut self, tape: &mut Tape) -> Result<(), String> {
        match tape.pick(7) {
            0 | 1 => self.outside.session = None,
            2 | 3 => {
                if let Some(name) = self.some_instance(tape)
                    && !self.outside.is_busy(&name)
                {
                    self.outside.registrations.remove(&name);
                }
            }
            4 | 5 => {
                if let Some(name) = self.some_instance(tape) {
                    self.outside.die(&name);
                }
            }
            _ => {
                self.outside.set = None;
                self.outside.session = None;
                self.outside.queue.clear();
                self.outside.entries.clear();
                let running = |name: &RunnerName, outside: &Outside| outside.is_busy(name);
                let names: Vec<_> = self.outside.registrations.keys().cloned().collect();
                for name in names {
                    if !running(&name, &self.outside) {
                        self.outside.registrations.remove(&name);
                    }
                }
                for job in self.outside.jobs.values_mut() {
                    if *job == JobTruth::Assigned {
                        *job = JobTruth::Queued;
                    }
                }
            }
        }
        self.log.push("misfortune".into());
        self.pass()
    }

    fn user(&mut self, tape: &mut Tape) -> Result<(), String> {
        let names: Vec<_> = self.lab.world.runners().map(|row| row.name.clone()).collect();
        let pool = self.pool();
        let command = match (tape.pick(9), names.get(tape.pick(names.len()))) {
            (0, _) => Command::Drain(pool),
            (8, _) => {
                let even_busy = tape.chance(30);
                if even_busy {
                    self.outside.allowed.extend(names);
                }
                Command::Flush { pool, even_busy }
            }
            (1..=3, _) | (_, None) => Command::Undrain(pool),
            (choice, Some(runner)) => {
                let even_busy = choice == 4;
                if even_busy {
                    self.outside.allowed.insert(runner.clone());
                }
                Command::Remove { runner: runner.clone(), even_busy }
            }
        };
        self.happens(Outcome::Command(command))
    }

    fn pool(&self) -> dayfly_core::model::PoolName {
        self.lab.spec.pools.keys().next().cloned().unwrap()
    }

    /// The pool takes jobs again, whatever the user said of it.
    pub fn undrain(&mut self) -> Result<(), String> {
        let pool = self.pool();
        self.happens(Outcome::Command(Command::Undrain(pool)))
    }

    /// Faults stop: every call works, every process goes on, and what it says is heard. Ends when `done` holds.
    ///
    /// # Errors
    /// Where it never does.
    pub fn quiet(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        self.lab.disk_full = false;
        let until = self.lab.now + QUIET;
        while self.lab.now < until {
            self.pass()?;
            self.answer_all()?;
            for told in std::mem::take(&mut self.outside.deliveries) {
                self.happens(Outcome::Evidence(told.into()))?;
            }
            for name in self.outside.instances.keys().cloned().collect::<Vec<_>>() {
                if let Some(said) = self.outside.step(&name) {
                    self.happens(said)?;
                }
            }
            if done(self) {
                return Ok(());
            }
            let turn = self.lab.now + TURN;
            self.lab.now = self.next_due.map_or(turn, |due| due.min(turn));
        }
        Err(format!("the quiet does not come: {}", self.state()))
    }

    /// Every job is over.
    pub fn jobs_are_done(&self) -> bool {
        self.outside.jobs.values().all(|job| *job == JobTruth::Done)
            && self.outside.entries.is_empty()
    }

    /// As many runners wait for a job as are to be kept, and as many instances are warm beside them.
    pub fn is_full(&self, limits: Limits) -> bool {
        let count = |wanted: fn(&Process) -> bool| {
            let found = self.outside.instances.values().filter(|process| wanted(process));
            u32::try_from(found.count()).unwrap_or(u32::MAX)
        };
        let idle = limits.min_idle.min(limits.max);
        count(|process| matches!(process, Process::Online(_))) == idle
            && count(|process| *process == Process::Waiting) == limits.warm.min(limits.max - idle)
            && self.outside.instances.len()
                == self.outside.registrations.len()
                    + usize::try_from(limits.warm.min(limits.max - idle)).unwrap_or(usize::MAX)
    }

    /// Nothing is left to do but to poll.
    pub fn is_idle(&self) -> bool {
        let polls = |flight: &Flight| matches!(flight, Flight::Poll(_));
        self.lab.flights.keys().all(polls)
            && self.lab.world.runners().next().is_none()
            && self.outside.instances.is_empty()
            && self.outside.registrations.is_empty()
    }

    /// A user deletes the pool, and nothing of it is left.
    ///
    /// # Errors
    /// What is.
    pub fn delete(&mut self) -> Result<(), String> {
        let pool = self.pool();
        self.happens(Outcome::Command(Command::DeletePool(pool.clone())))?;
        self.quiet(|run| {
            run.is_idle() && run.outside.set.is_none() && run.outside.session.is_none()
        })?;
        self.lab.spec = Spec { pools: BTreeMap::new(), ..self.lab.spec.clone() };
        self.lab.crash();
        self.quiet(|run| run.lab.world.pool(pool.as_str()).is_none())
    }

    /// The end of the log.
    pub fn last_words(&self) -> String {
        let told: Vec<&str> =
            self.log.iter().map(String::as_str).filter(|line| !line.contains("List")).collect();
        told[told.len().saturating_sub(LOG_SHOWN)..].join("\n")
    }

    fn state(&self) -> String {
        let runners = report::runners(&self.lab.world, &self.lab.spec, self.lab.now);
        let status = report::status(&self.lab.world, &self.lab.spec, self.lab.now);
        format!("{:#?}\n{runners:#?}\n{status:#?}\n{:#?}", self.outside, self.lab.flights)
    }
}
