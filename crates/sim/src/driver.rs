//! Runs one scenario from its start to the day on which nothing of it is left.
//!
//! First everything of the scenario happens. Then the faults stop, and what the promises say must come true: every job ends,
//! the world becomes quiet and as it was configured, nothing is left once the pools are deleted, and the daemon ends.

mod ending;
mod strikes;

use std::{
    collections::BTreeMap, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration,
};

use dayfly_core::model::Spec;
use dayfly_engine::View;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::{
    checks::{Check, Violation},
    daemon::{self, Daemon},
    explain::{self, Waits},
    outside::{Outside, State, answer},
    scenario::Scenario,
    stock::{self, Held},
};

/// What came of a simulation.
#[derive(Debug)]
pub struct Report {
    /// Of everything that happened.
    pub hash: [u8; 32],
    /// What happened, where it was kept.
    pub log: Vec<String>,
    /// Broken promises, in order of time.
    pub violations: Vec<Violation>,
    /// Jobs queued.
    pub jobs: usize,
    /// How long it took outside.
    pub simulated: Duration,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often a promise was looked at.
    pub checks: u64,
    /// Exceptions that the promises make, by their cause.
    pub excused: BTreeMap<&'static str, u64>,
}

/// How long after the last fault a job may take to start, beside the time for the jobs before it: five minutes' pause of
/// creation twice over, GitHub's reassignment, a session that lingers, and a boot.
const START_BOUND: Duration = Duration::from_secs(45 * 60);

/// How long the world may take to become quiet once all jobs are over, and again once the pools are deleted.
const SETTLE_BOUND: Duration = Duration::from_secs(40 * 60);

/// How long a daemon may take to end, whatever is wrong outside.
const END_BOUND: Duration = Duration::from_secs(30);

/// How long a new life may take until its explanations are its own.
const SECOND_LOOK: Duration = Duration::from_secs(90);

/// How often the explanations are looked at in most seeds.
const EXPLAIN_EVERY: Duration = Duration::from_secs(30);

/// Runs a scenario.
///
/// # Errors
/// Where the simulation itself could not be set up.
pub fn run(scenario: &Scenario, keep_log: bool) -> Result<Report, String> {
    drive(scenario, keep_log, false)
}

/// Runs a scenario until a promise is broken.
///
/// # Errors
/// Where the simulation itself could not be set up.
#[cfg(feature = "mutants")]
pub(crate) fn run_until_broken(scenario: &Scenario) -> Result<Report, String> {
    drive(scenario, false, true)
}

fn drive(scenario: &Scenario, keep_log: bool, until_broken: bool) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    let scenario = Arc::new(scenario.clone());
    runtime.block_on(async {
        let spec = Arc::new(daemon::spec(&scenario, &BTreeMap::new())?);
        let outside = Outside::new(State::new(&scenario, keep_log)?);
        outside.lock().remake(&spec);
        if !scenario.sync.is_zero() {
            outside.lock().count("disk-slow");
        }
        let mut driver = Driver {
            started: Instant::now(),
            outside,
            spec,
            renewals: BTreeMap::new(),
            next_item: 0,
            daemon: None,
            start_at: Some(Duration::ZERO),
            down: Duration::ZERO,
            jump_s: 0,
            wall_off_s: 0,
            stop_asked: None,
            tasks: TaskTracker::new(),
            explain_at: Duration::ZERO,
            waits: Waits::default(),
            held: Held::default(),
            scenario,
        };
        let outside = Arc::clone(&driver.outside);
        let broken = || until_broken && !outside.lock().checks.violations.is_empty();
        {
            let mut life = pin!(driver.live());
            poll_fn(|context| match life.as_mut().poll(context) {
                Poll::Pending if !broken() => Poll::Pending,
                _ => Poll::Ready(()),
            })
            .await;
        }
        Ok(driver.report())
    })
}

struct Driver {
    started: Instant,
    scenario: Arc<Scenario>,
    outside: Arc<Outside>,
    spec: Arc<Spec>,
    /// How often each pool's image was renewed.
    renewals: BTreeMap<usize, u32>,
    next_item: usize,
    daemon: Option<Daemon>,
    /// When the next life begins.
    start_at: Option<Duration>,
    /// How long the daemon stays away after its next death, and how far the clock is off then.
    down: Duration,
    jump_s: i64,
    wall_off_s: i64,
    /// When the daemon was asked to end.
    stop_asked: Option<Duration>,
    tasks: TaskTracker,
    /// When the explanations are looked at next.
    explain_at: Duration,
    /// What they said the last time, where every step is looked at.
    waits: Waits,
    held: Held,
}

impl Driver {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn live(&mut self) {
        let last = self.scenario.items.last().map_or(Duration::ZERO, |item| item.at);
        self.run_until(last + Duration::from_secs(1), |_| false).await;
        self.heal();
        self.finish_jobs().await;
        self.settle().await;
        self.delete_all().await;
        self.stop().await;
    }

    /// Lets time pass until `done`, or until `until`; whether it was done.
    async fn run_until(&mut self, until: Duration, done: impl Fn(&mut State) -> bool) -> bool {
        loop {
            self.strike_due();
            self.outside.lock().advance();
            self.deliver();
            self.bury().await;
            if self.start_at.is_some_and(|at| at <= self.now()) {
                self.begin();
            }
            if done(&mut self.outside.lock()) {
                return true;
            }
            if self.now() >= until {
                return false;
            }
            self.check_explanations().await;
            self.wait(until).await;
        }
    }

    /// Webhooks' deliveries that arrive now are taken side by side, in any order.
    fn deliver(&mut self) {
        for arrived in self.outside.lock().take_arrived() {
            let daemon = self.daemon.as_ref().map(|daemon| (daemon.life, daemon.handle.clone()));
            self.tasks.spawn(answer(Arc::clone(&self.outside), daemon, arrived));
        }
    }

    /// Where jobs wait, a condition is named, and none that should be over; when a wait ends, one of them has changed.
    async fn check_explanations(&mut self) {
        if self.now() < self.explain_at {
            return;
        }
        // Every step for some seeds, now and then for the others: asking costs more than all else.
        let often = self.scenario.seed.is_multiple_of(16);
        self.explain_at = self.now() + if often { Duration::ZERO } else { EXPLAIN_EVERY };
        let Some(daemon) = &self.daemon else { return };
        let handle = daemon.handle.clone();
        let before = std::mem::take(&mut self.waits);
        let held = std::mem::take(&mut self.held);
        let look = move |view: &View<'_>| (explain::look(view, &before), stock::look(view, &held));
        if let Ok((found, (held, kept_from))) = handle.read(look).await {
            self.held = held;
            let mut state = self.outside.lock();
            // What was promised before the daemon's death may be over: it needs a moment to see that.
            let fresh = state.github.newest_life() + SECOND_LOOK > state.now();
            let unexplained = found.unexplained.filter(|_| !fresh);
            state.look(Check::Explained, unexplained.is_none(), || unexplained.unwrap_or_default());
            let unfounded = found.unfounded.filter(|_| !fresh);
            state.look(Check::WaitEnds, unfounded.is_none(), || unfounded.unwrap_or_default());
            state.look(Check::GivesWay, kept_from.is_none(), || kept_from.unwrap_or_default());
            if often {
                self.waits = found.waits;
            }
        }
    }

    async fn wait(&mut self, until: Duration) {
        let item = self.scenario.items.get(self.next_item).map(|item| item.at);
        let own = [Some(until), item, self.start_at].into_iter().flatten().min().unwrap_or(until);
        let mut next = self.started + own;
        {
            let mut state = self.outside.lock();
            if let Some(at) = state.next() {
                next = next.min(at);
            }
            state.armed = Some(next);
        }
        let outside = Arc::clone(&self.outside);
        let ended = async {
            match &mut self.daemon {
                Some(daemon) => (&mut daemon.ended).await,
                None => std::future::pending().await,
            }
        };
        // Nothing is lost by dropping the others: a bell that rang keeps its permit, the end is polled again.
        tokio::select! {
            biased;
            () = outside.bell.notified() => {}
            end = ended => self.ended(&end),
            () = sleep_until(next) => {}
        }
    }

    /// The daemon ended by itself.
    fn ended(&mut self, end: &Result<(), dayfly_engine::TaskDied>) {
        self.daemon = None;
        let asked = self.stop_asked.take();
        {
            let mut state = self.outside.lock();
            let at = state.now();
            match (end, asked) {
                (Ok(()), Some(asked)) => state.look(Check::Ends, at <= asked + END_BOUND, || {
                    format!("it took {:.0} s to end", (at - asked).as_secs_f64())
                }),
                (Ok(()), None) => {
                    state.look(Check::Lives, false, || "it ended, and nobody had asked".to_owned());
                }
                (Err(died), _) => state.look(Check::Lives, false, || died.to_string()),
            }
            state.note(format_args!("the daemon ended"));
            state.end_life();
        }
        self.start_at = Some(self.now() + self.down);
    }

    /// A daemon that died is gone with all its tasks.
    async fn bury(&mut self) {
        let dead =
            self.daemon.as_ref().is_some_and(|daemon| !self.outside.lock().is_alive(daemon.life));
        if dead && let Some(daemon) = self.daemon.take() {
            daemon.handle.end_now();
            drop(daemon.handle);
            // Its ports are closed: how its tasks end changes nothing.
            let _ = daemon.ended.await;
            self.stop_asked = None;
            self.wall_off_s += self.jump_s;
            self.start_at = Some(self.now() + self.down);
        }
    }

    fn begin(&mut self) {
        self.start_at = None;
        self.waits = Waits::default();
        self.held = Held::default();
        if !self.outside.lock().will_die() {
            self.down = Duration::from_secs(5);
            self.jump_s = 0;
        }
        self.outside.lock().rebuild_store();
        match daemon::start(&self.outside, &self.scenario, &self.spec, self.wall_off_s) {
            Ok(daemon) => {
                let life = daemon.life.0;
                self.daemon = Some(daemon);
                self.outside.lock().note(format_args!("life {life} of the daemon begins"));
            }
            Err(why) => {
                let mut state = self.outside.lock();
                state.end_life();
                state.look(Check::Lock, false, || format!("a new life can't begin: {why}"));
                drop(state);
                self.start_at = Some(self.now() + Duration::from_secs(60));
            }
        }
    }

    fn report(self) -> Report {
        let mut state = self.outside.lock();
        let simulated = state.now();
        let (hash, log) = state.log.finish();
        Report {
            hash,
            log,
            violations: std::mem::take(&mut state.checks.violations),
            jobs: state.jobs.rows.len(),
            simulated,
            faults: std::mem::take(&mut state.faults),
            checks: state.checks.looked(),
            excused: std::mem::take(&mut state.checks.excused),
        }
    }
}
