//! The controller: one task that owns the world.
//!
//! Take in what happened, run a pass, commit, begin: in this order, always. It calls no port but the store, the
//! clock and the event sink, none of which waits for the network.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dayfly_core::{
    effect::{Command, Effect, InstanceCall, Outcome, RegistrationOutcome},
    model::{Event, EventKind, RunnerName, Spec},
    plan::{Pass, pass},
    planted::{Bug, planted},
    ports::{Batch, EventSink, Ids, StoreError, StoreErrorKind},
    world::World,
};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use crate::{
    commit::Committer,
    executor::Executor,
    handle::{NotTaken, Refused},
    inbox::{EVIDENCE_MAX, Evidence, INBOX_MAX, Inbox, Input, READERS_MAX},
    view::{Instruments, View},
};

/// How many inputs one pass takes in: what the inbox holds. The rest is for the next pass, so that a flood can't keep
/// the pass from coming.
const INPUTS_PER_PASS_MAX: usize = INBOX_MAX;

/// The shortest wait for a deadline. Deadlines are in seconds; one that a pass can't settle must not make the loop
/// spin.
const DEADLINE_WAIT_MIN: Duration = Duration::from_millis(50);

/// With so many runners, a pass that took longer than [`PASS_DEAR`] is not followed by the next at once: what happens while a burst
/// comes in is planned for in fewer passes. With fewer runners it was the machine that took its time.
const RUNNERS_MANY: usize = 500;

/// What a pass may take before the next waits for as long.
const PASS_DEAR: Duration = Duration::from_millis(2);

/// The longest pause between two passes, whatever one took.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// How long after a failed commit the next is tried: a full disk does not empty sooner, and readers see that it is.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// How long the end may take once it is asked for: a session that can't be closed expires at GitHub by itself, and
/// service managers kill after 90 seconds or less.
const STOP_MAX: Duration = Duration::from_secs(15);

/// How many events are kept while the store can't be written: an hour of a busy daemon. The oldest go first.
const EVENTS_WITHHELD_MAX: usize = 10_000;

/// The end that was asked for.
struct Stop {
    /// When it was asked for, or when the last busy runner ended.
    since: Instant,
    /// Whether busy runners are waited for.
    await_busy: bool,
}

/// A store that can't be written.
struct Failing {
    error: StoreError,
    retry_at: Instant,
}

/// What waits for the commit.
#[derive(Default)]
struct Withheld {
    effects: Vec<Effect>,
    events: Vec<Event>,
    answers: Vec<oneshot::Sender<Result<(), Refused>>>,
    receipts: Vec<oneshot::Sender<Result<(), NotTaken>>>,
}

/// The controller.
pub(crate) struct Controller {
    spec: Arc<Spec>,
    world: World,
    instruments: Instruments,
    inbox: Inbox,
    wake: Arc<Notify>,
    committer: Committer,
    executor: Executor,
    ids: Box<dyn Ids>,
    events: Arc<dyn EventSink>,
    withheld: Withheld,
    failing: Option<Failing>,
    stop: Option<Stop>,
    /// When the next pass is due though nothing happens.
    due: Option<Instant>,
    /// How long nothing is taken in after the newest pass.
    pause: Option<Duration>,
    /// When the oldest input of the coming pass was known.
    arrived: Option<Instant>,
    /// When the evidence for each planned runner arrived, until its create call begins.
    evidence: BTreeMap<RunnerName, Instant>,
}

impl Controller {
    pub(crate) fn new(
        (spec, world): (Arc<Spec>, World),
        instruments: Instruments,
        inbox: Inbox,
        wake: Arc<Notify>,
        committer: Committer,
        executor: Executor,
        (ids, events): (Box<dyn Ids>, Arc<dyn EventSink>),
    ) -> Self {
        Self {
            spec,
            world,
            instruments,
            inbox,
            wake,
            committer,
            executor,
            ids,
            events,
            withheld: Withheld::default(),
            failing: None,
            stop: None,
            due: None,
            pause: None,
            arrived: None,
            evidence: BTreeMap::new(),
        }
    }

    /// Runs until the end is reached.
    ///
    /// # Errors
    /// Where the world in memory and the rows on disk have parted: only a new start mends that.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let ending = self.instruments.tasks.ending().clone();
        // Every await in here may be abandoned: that is a crash, which the next start resolves.
        let end = tokio::select! {
            biased;
            () = ending.cancelled() => Ok(()),
            end = self.turn() => end,
        };
        if end.is_ok() {
            self.instruments.tasks.end();
        }
        end
    }

    async fn turn(&mut self) -> Result<(), String> {
        loop {
            if self.failing.as_ref().is_none_or(|failing| failing.retry_at <= Instant::now()) {
                self.pass().await?;
            }
            if self.is_done() {
                return Ok(());
            }
            self.wait().await;
        }
    }

    /// One turn of the loop: plan, commit, begin.
    async fn pass(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let arrived = self.arrived.take().unwrap_or(began);
        let now = self.instruments.clock.now();
        for (scope, forge) in &self.instruments.forges {
            self.world.note_rate_limit(scope, forge.rate_limit());
        }
        let Pass { effects, batch, events, next_due } =
            pass(&mut self.world, &self.spec, now, &mut *self.ids);
        self.withheld.effects.extend(effects);
        self.withheld.events.extend(events);
        self.due = next_due.and_then(|due| due_in(due, now));
        self.note_evidence(&batch, arrived);
        let took = began.elapsed();
        self.instruments.recorder.pass(took);
        self.pause = (took > PASS_DEAR && self.world.runners().nth(RUNNERS_MANY).is_some())
            .then_some(took.min(PAUSE_MAX));
        if batch.is_empty() {
            self.release();
            return Ok(());
        }
        if planted(Bug::AckBeforeStore) {
            self.release_early(|effect| matches!(effect, Effect::Acknowledge { .. }));
        }
        if planted(Bug::EffectBeforeIntent) {
            self.release_early(|_| true);
        }
        let began = Instant::now();
        let (batch, result) = self.commit(batch).await?;
        match result {
            Ok(()) => {
                self.instruments.recorder.commit(began.elapsed());
                for runner in
                    batch.runners.iter().filter_map(|(name, row)| row.is_none().then_some(name))
                {
                    self.executor.forget(runner);
                }
                self.release();
                Ok(())
            }
            Err(error) if error.kind == StoreErrorKind::Generation => Err(error.to_string()),
            Err(error) => {
                self.refused(batch, error, now);
                Ok(())
            }
        }
    }

    /// Commits, and answers readers meanwhile.
    async fn commit(&mut self, batch: Batch) -> Result<(Batch, Result<(), StoreError>), String> {
        let error = self.failing.as_ref().map(|failing| &failing.error);
        let commit = self.committer.commit(batch);
        tokio::pin!(commit);
        loop {
            // A reader is taken whole or not at all; the commit is pinned outside.
            tokio::select! {
                biased;
                tried = &mut commit => return tried.map_err(|gone| gone.to_string()),
                Some(reader) = self.inbox.readers.recv() => {
                    reader(&View::new(&self.spec, &self.world, error, &self.instruments));
                }
            }
        }
    }

    /// Only planted bugs begin effects before the commit.
    fn release_early(&mut self, which: fn(&Effect) -> bool) {
        let early: Vec<_> = self.withheld.effects.extract_if(.., |effect| which(effect)).collect();
        for effect in early {
            self.executor.begin(effect, None);
        }
    }

    /// The commit stands, or none was needed: begins what waited for it.
    fn release(&mut self) {
        if self.failing.take().is_some() {
            info!("the store can be written again");
            // Rows that were given up before they ever reached the disk appear in no batch.
            self.evidence.retain(|name, _| self.world.runner(name).is_some());
            let now = self.instruments.clock.now();
            for effect in &self.withheld.effects {
                self.world.begun_late(effect, now);
            }
        }
        let Withheld { effects, events, answers, receipts } = std::mem::take(&mut self.withheld);
        // They wait at GitHub's side for what is done now.
        for receipt in receipts {
            let _ = receipt.send(Ok(()));
        }
        for effect in effects {
            let evidence = match &effect {
                Effect::Instance { runner, call: InstanceCall::Create(_), .. } => {
                    self.evidence.remove(runner)
                }
                _ => None,
            };
            self.executor.begin(effect, evidence);
        }
        for answer in answers {
            let _ = answer.send(Ok(()));
        }
        for event in &events {
            self.events.emit(event);
        }
    }

    /// The store refused the batch: nothing begins until it takes it.
    fn refused(&mut self, batch: Batch, error: StoreError, now: Timestamp) {
        if !planted(Bug::FailedCommitForgotten) {
            self.world.commit_failed(batch);
        }
        for answer in self.withheld.answers.drain(..) {
            let _ = answer.send(Err(Refused::NotStored(error.clone())));
        }
        for receipt in self.withheld.receipts.drain(..) {
            let _ = receipt.send(Err(NotTaken::NotStored(error.clone())));
        }
        let excess = self.withheld.events.len().saturating_sub(EVENTS_WITHHELD_MAX);
        if excess > 0 {
            self.withheld.events.drain(..excess);
            warn!(events = excess, "events are dropped: the store can't be written for too long");
        }
        if self.failing.as_ref().is_none_or(|failing| failing.error.kind != error.kind) {
            let what =
                format!("{error}; no runner is made or removed until the store can be written");
            warn!("{what}");
            self.events.emit(&Event { at: now, kind: EventKind::Alarm { pool: None, what } });
        }
        self.failing = Some(Failing { error, retry_at: Instant::now() + STORE_RETRY });
    }

    /// Notes when the evidence for new rows arrived, and forgets rows that are gone.
    fn note_evidence(&mut self, batch: &Batch, arrived: Instant) {
        for (name, row) in &batch.runners {
            match row {
                Some(runner) if runner.generation == 1 => {
                    self.evidence.entry(name.clone()).or_insert(arrived);
                }
                Some(_) => {}
                None => {
                    self.evidence.remove(name);
                }
            }
        }
    }

    /// Waits until a pass is worth doing, and takes in what happened.
    async fn wait(&mut self) {
        self.answer_readers();
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        let due = match &self.failing {
            Some(failing) => Some(failing.retry_at),
            None => [self.due, self.stop_due()].into_iter().flatten().min(),
        };
        loop {
            // All arms are cancel safe: what is received is used, and a permit of the notification is kept.
            tokio::select! {
                biased;
                Some(input) = self.inbox.inputs.recv() => {
                    self.take(input);
                    return self.take_what_waits();
                }
                Some(evidence) = self.inbox.evidence.recv() => {
                    self.take_evidence(evidence);
                    return self.take_what_waits();
                }
                () = self.wake.notified() => {
                    self.arrived.get_or_insert_with(Instant::now);
                    return;
                }
                Some(reader) = self.inbox.readers.recv() => {
                    let error = self.failing.as_ref().map(|failing| &failing.error);
                    reader(&View::new(&self.spec, &self.world, error, &self.instruments));
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return,
            }
        }
    }

    /// Answers those who wait, so that a full inbox can't keep them waiting.
    fn answer_readers(&mut self) {
        let error = self.failing.as_ref().map(|failing| &failing.error);
        for _ in 0..READERS_MAX {
            let Ok(reader) = self.inbox.readers.try_recv() else { return };
            reader(&View::new(&self.spec, &self.world, error, &self.instruments));
        }
    }

    /// Takes in what gathered with the first of it.
    fn take_what_waits(&mut self) {
        for _ in 1..INPUTS_PER_PASS_MAX {
            let Ok(input) = self.inbox.inputs.try_recv() else { break };
            self.take(input);
        }
        for _ in 1..EVIDENCE_MAX {
            let Ok(evidence) = self.inbox.evidence.try_recv() else { break };
            self.take_evidence(evidence);
        }
    }

    /// What is known already may still wait for its commit: every delivery is answered after the next.
    fn take_evidence(&mut self, Evidence { job, at, answer }: Evidence) {
        if !self.world.has_room_for(&job) {
            let _ = answer.send(Err(NotTaken::Full));
            return;
        }
        self.arrived = Some(self.arrived.map_or(at, |arrived| arrived.min(at)));
        self.apply(Outcome::Evidence(Box::new(job)));
        self.withheld.receipts.push(answer);
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Happened { outcome, at } => {
                self.arrived = Some(self.arrived.map_or(at, |arrived| arrived.min(at)));
                self.apply(outcome);
            }
            Input::Asked { command, answer } => match self.refusal(&command) {
                Some(refused) => {
                    let _ = answer.send(Err(refused));
                }
                None => self.obey(command, answer),
            },
            Input::Remade(spec) => {
                self.arrived.get_or_insert_with(Instant::now);
                self.spec = spec;
                self.world.remade();
            }
            Input::Stop { await_busy, answer } => {
                // Asked twice, the end comes no later.
                let since =
                    self.stop.as_ref().filter(|stop| !stop.await_busy).map(|stop| stop.since);
                self.stop = Some(Stop { since: since.unwrap_or_else(Instant::now), await_busy });
                self.obey(Command::Stop, answer);
            }
        }
    }

    fn obey(&mut self, command: Command, answer: oneshot::Sender<Result<(), Refused>>) {
        self.arrived.get_or_insert_with(Instant::now);
        self.apply(Outcome::Command(command));
        self.withheld.answers.push(answer);
    }

    fn apply(&mut self, outcome: Outcome) {
        let minted = match &outcome {
            Outcome::Registration { runner, result: RegistrationOutcome::Minted(_), .. } => {
                Some(runner.clone())
            }
            _ => None,
        };
        self.world.apply(outcome, self.instruments.clock.now());
        // The row went while its mint was under way: nobody will hand that configuration over.
        if let Some(runner) = minted
            && self.world.runner(&runner).is_none()
        {
            self.executor.forget(&runner);
        }
    }

    /// Why a command can't be taken.
    fn refusal(&self, command: &Command) -> Option<Refused> {
        match command {
            Command::Remove { runner, .. } if self.world.runner(runner).is_none() => {
                Some(Refused::NoSuchRunner(runner.clone()))
            }
            Command::Flush { pool, .. }
            | Command::Drain(pool)
            | Command::Undrain(pool)
            | Command::DeletePool(pool)
                if self.world.pool(pool.as_str()).is_none() =>
            {
                Some(Refused::NoSuchPool(pool.clone()))
            }
            _ => None,
        }
    }

    /// Whether the end that was asked for is reached, or has taken too long.
    fn is_done(&mut self) -> bool {
        let Some(stop) = &mut self.stop else { return false };
        if stop.await_busy
            && self.world.runners().any(|runner| runner.is_busy() && runner.instance.may_live())
        {
            stop.since = Instant::now();
            return false;
        }
        let overdue = stop.since.elapsed() >= STOP_MAX;
        let stopped = self.world.is_stopped();
        if overdue && !stopped {
            warn!(
                "sessions could not be closed within {} s; GitHub closes them itself",
                STOP_MAX.as_secs()
            );
        }
        stopped && self.failing.is_none() || overdue
    }

    fn stop_due(&self) -> Option<Instant> {
        self.stop.as_ref().map(|stop| stop.since + STOP_MAX)
    }
}

/// When a time of the controller's clock comes, on the monotonic clock; `None`: beyond its end.
fn due_in(due: Timestamp, now: Timestamp) -> Option<Instant> {
    let wait = Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO);
    Instant::now().checked_add(wait.max(DEADLINE_WAIT_MIN))
}
