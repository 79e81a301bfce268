//! A laboratory for the core: the real world and planner over a store in memory, with every pass checked.
//!
//! It answers nothing by itself: whoever uses it plays GitHub and the engines.

mod checks;
mod memory;

use std::collections::BTreeMap;

use dayfly_core::{
    effect::{Effect, Flight, Outcome},
    model::{BackendName, ControllerId, Event, Spec, Suffix},
    plan::pass,
    ports::{Capabilities, Ids},
    world::World,
};
use jiff::Timestamp;
use uuid::Uuid;

use self::memory::Memory;

/// Suffixes that count from 1.
#[derive(Debug, Clone, Default)]
pub struct CountingIds(pub u64);

impl Ids for CountingIds {
    fn suffix(&mut self) -> Suffix {
        self.0 += 1;
        Suffix::from_bits(self.0)
    }
}

/// What a pass gave.
#[derive(Debug, Default)]
pub struct Passed {
    /// To be answered by whoever plays the outside.
    pub effects: Vec<Effect>,
    /// What happened.
    pub events: Vec<Event>,
    /// When the next pass is due.
    pub next_due: Option<Timestamp>,
}

/// A controller without a daemon.
#[derive(Debug)]
pub struct Lab {
    /// The configuration.
    pub spec: Spec,
    /// What the backends can do.
    pub backends: BTreeMap<BackendName, Capabilities>,
    /// The controller's clock.
    pub now: Timestamp,
    /// What the controller knows.
    pub world: World,
    /// The calls under way, and when each was begun.
    pub flights: BTreeMap<Flight, (Effect, Timestamp)>,
    /// Whether the store refuses every commit.
    pub disk_full: bool,
    store: Memory,
    /// Where new names come from.
    pub ids: CountingIds,
    withheld: Vec<Effect>,
}

impl Lab {
    /// A first start, on an empty store.
    pub fn new(spec: Spec, backends: BTreeMap<BackendName, Capabilities>, now: Timestamp) -> Self {
        let store = Memory::new(ControllerId(Uuid::from_u128(0x0DA7_F1E5)));
        let world = World::new(store.load(), &spec, backends.clone(), now);
        Self {
            spec,
            backends,
            now,
            world,
            flights: BTreeMap::new(),
            disk_full: false,
            store,
            ids: CountingIds::default(),
            withheld: Vec::new(),
        }
    }

    /// The daemon dies, with everything that only memory knew, and starts again on the rows as they were committed.
    pub fn crash(&mut self) {
        self.world = World::new(self.store.load(), &self.spec, self.backends.clone(), self.now);
        self.flights.clear();
        self.withheld.clear();
    }

    /// Takes in what happened.
    pub fn apply(&mut self, outcome: Outcome) {
        if let Some(flight) = checks::flight_of(&outcome) {
            self.flights.remove(&flight);
        }
        self.world.apply(outcome, self.now);
    }

    /// One turn of the loop, as the engine makes it: plan, commit, begin. Every pass is checked.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn pass(&mut self) -> Result<Passed, String> {
        let before = checks::Before::of(&self.world);
        let done = pass(&mut self.world, &self.spec, self.now, &mut self.ids);
        checks::batch(&self.world, &self.spec, &before, &done.batch, self.now)?;
        checks::budgets(&self.world, &before)?;
        for effect in &done.effects {
            checks::effect(&self.world, effect)?;
            let twin = effect.flight().filter(|flight| {
                self.flights.contains_key(flight)
                    || self.withheld.iter().any(|held| held.flight().as_ref() == Some(flight))
            });
            if twin.is_some() {
                return Err(format!("{effect:?} begins while another is under way"));
            }
        }
        if let Some(due) = done.next_due
            && due <= self.now
        {
            return Err(format!("the next pass is due at once: {due} at {}", self.now));
        }
        let mut passed =
            Passed { effects: Vec::new(), events: done.events, next_due: done.next_due };
        self.withheld.extend(done.effects);
        if self.disk_full && !done.batch.is_empty() {
            self.world.commit_failed(done.batch);
            return Ok(passed);
        }
        self.store.commit(&done.batch)?;
        passed.effects = std::mem::take(&mut self.withheld);
        for effect in &passed.effects {
            if let Some(flight) = effect.flight() {
                self.flights.insert(flight, (effect.clone(), self.now));
            }
        }
        if !self.disk_full {
            self.store.equals(&self.world)?;
            checks::settled(&self.world, &self.spec, self.now)?;
        }
        Ok(passed)
    }
}
