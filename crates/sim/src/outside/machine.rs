//! An engine and its instances: stateful, and as unreliable as the scenario says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use dayfly_core::{
    model::{Exit, InstanceId, RunnerName, Sign},
    ports::{InstanceEvent, InstanceRecord, InstanceStatus},
};
use dayfly_github_sim::{HoldId, JobId, RunnerId};
use tokio::sync::Notify;

use super::timestamp;
use crate::scenario::{EngineCall, EngineFault, EnginePlan};

/// An engine.
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) plan: EnginePlan,
    instances: BTreeMap<u64, Made>,
    by_name: BTreeMap<RunnerName, BTreeSet<u64>>,
    serial: u64,
    faults: Vec<(EngineCall, EngineFault, u32)>,
    /// How many outages are under way.
    pub(crate) away: u32,
    /// Since when it is away.
    pub(crate) away_since: Option<Duration>,
    pub(crate) watcher: Option<Watcher>,
    pub(crate) events_lost: u32,
    /// Lists of the last half minute, for those that are stale.
    old: VecDeque<(Duration, Vec<InstanceRecord>)>,
    /// Create calls that may still have an effect though they were answered "perhaps".
    pub(crate) pending: BTreeSet<RunnerName>,
}

/// Somebody who follows the events.
pub(crate) struct Watcher {
    pub(crate) events: VecDeque<InstanceEvent>,
    pub(crate) broken: bool,
    pub(crate) bell: Arc<Notify>,
}

/// An instance.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) name: RunnerName,
    pub(crate) id: InstanceId,
    pub(crate) state: MadeState,
    pub(crate) made_at: Duration,
    /// How many configurations it was handed.
    pub(crate) handed: u32,
    pub(crate) registration: Option<RunnerId>,
    pub(crate) hold: Option<HoldId>,
    /// The job whose steps it runs.
    pub(crate) job: Option<JobId>,
    /// Since when.
    pub(crate) job_since: Duration,
    /// How many jobs it began.
    pub(crate) jobs: u32,
    /// Made late or twice: beyond what the daemon can count.
    pub(crate) beyond: bool,
}

/// How far an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MadeState {
    /// Not ready.
    Booting,
    /// Its waiter waits, or its runner runs.
    Running,
    /// Its process has ended.
    Ended(Exit),
}

impl Made {
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, MadeState::Ended(_))
    }
}

impl Machine {
    pub(crate) fn new(index: usize, plan: EnginePlan) -> Self {
        Self {
            index,
            plan,
            instances: BTreeMap::new(),
            by_name: BTreeMap::new(),
            serial: 0,
            faults: Vec::new(),
            away: 0,
            away_since: None,
            watcher: None,
            events_lost: 0,
            old: VecDeque::new(),
            pending: BTreeSet::new(),
        }
    }

    pub(crate) fn fault(&mut self, call: EngineCall, fault: EngineFault, count: u32) {
        self.faults.push((call, fault, count));
    }

    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        self.away = 0;
        self.away_since = None;
        self.events_lost = 0;
    }

    /// The fault that strikes this call, if one does.
    pub(crate) fn draw(&mut self, call: EngineCall) -> Option<EngineFault> {
        let at = self.faults.iter().position(|(of, ..)| *of == call)?;
        let (_, fault, left) = &mut self.faults[at];
        let fault = *fault;
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.faults.remove(at);
        }
        Some(fault)
    }

    /// How many instances were ever made.
    pub(crate) fn made(&self) -> u64 {
        self.serial
    }

    /// Makes an instance; its serial number.
    pub(crate) fn make(&mut self, name: &RunnerName, now: Duration, beyond: bool) -> u64 {
        self.serial += 1;
        let serial = self.serial;
        let made = Made {
            name: name.clone(),
            id: InstanceId(format!("i{}-{serial}", self.index).into()),
            state: MadeState::Booting,
            made_at: now,
            handed: 0,
            registration: None,
            hold: None,
            job: None,
            job_since: Duration::ZERO,
            jobs: 0,
            beyond,
        };
        self.instances.insert(serial, made);
        self.by_name.entry(name.clone()).or_default().insert(serial);
        serial
    }

    pub(crate) fn get(&self, serial: u64) -> Option<&Made> {
        self.instances.get(&serial)
    }

    pub(crate) fn get_mut(&mut self, serial: u64) -> Option<&mut Made> {
        self.instances.get_mut(&serial)
    }

    /// The first instance of a name: what a look by name shows.
    pub(crate) fn named(&self, name: &RunnerName) -> Option<(u64, &Made)> {
        let serial = *self.by_name.get(name)?.first()?;
        Some((serial, self.instances.get(&serial)?))
    }

    /// The instance of a name with this id.
    pub(crate) fn with_id(&self, name: &RunnerName, id: &InstanceId) -> Option<u64> {
        let serials = self.by_name.get(name)?;
        serials
            .iter()
            .copied()
            .find(|serial| self.instances.get(serial).is_some_and(|made| made.id == *id))
    }

    /// Every instance of a name.
    pub(crate) fn all_named(&self, name: &RunnerName) -> Vec<u64> {
        self.by_name.get(name).map(|serials| serials.iter().copied().collect()).unwrap_or_default()
    }

    /// The daemon can't count the instances of this name any more.
    pub(crate) fn beyond(&mut self, name: &RunnerName) {
        for serial in self.all_named(name) {
            if let Some(made) = self.instances.get_mut(&serial) {
                made.beyond = true;
            }
        }
    }

    pub(crate) fn remove(&mut self, serial: u64) -> Option<Made> {
        let made = self.instances.remove(&serial)?;
        if let Some(serials) = self.by_name.get_mut(&made.name) {
            serials.remove(&serial);
            if serials.is_empty() {
                self.by_name.remove(&made.name);
            }
        }
        Some(made)
    }

    pub(crate) fn serials(&self) -> Vec<u64> {
        self.instances.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Made> {
        self.instances.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }

    pub(crate) fn registration(&self, serial: u64) -> Option<RunnerId> {
        self.instances.get(&serial)?.registration
    }

    pub(crate) fn set_hold(&mut self, serial: u64, hold: Option<HoldId>) {
        if let Some(made) = self.instances.get_mut(&serial) {
            made.hold = hold;
        }
    }

    /// Tells whoever follows.
    pub(crate) fn tell(&mut self, event: InstanceEvent) {
        if self.events_lost > 0 {
            self.events_lost -= 1;
            return;
        }
        if let Some(watcher) = &mut self.watcher
            && !watcher.broken
        {
            watcher.events.push_back(event);
            watcher.bell.notify_one();
        }
    }

    pub(crate) fn say(&mut self, name: &RunnerName, sign: Sign) {
        self.tell(InstanceEvent::Said(name.clone(), sign));
    }

    /// Ends the stream of whoever follows.
    pub(crate) fn break_watch(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            watcher.broken = true;
            watcher.bell.notify_one();
        }
    }

    pub(crate) fn record(&self, made: &Made) -> InstanceRecord {
        let status = match &made.state {
            MadeState::Booting => InstanceStatus::Booting,
            MadeState::Running => InstanceStatus::Running,
            MadeState::Ended(exit) => InstanceStatus::Ended(exit.clone()),
        };
        InstanceRecord {
            runner: made.name.clone(),
            id: made.id.clone(),
            status,
            created_at: Some(timestamp(made.made_at)),
        }
    }

    pub(crate) fn list(&mut self, now: Duration) -> Vec<InstanceRecord> {
        let list: Vec<_> = self.instances.values().map(|made| self.record(made)).collect();
        self.old.push_back((now, list.clone()));
        while self.old.len() > 3 {
            self.old.pop_front();
        }
        list
    }

    /// The newest list that is at least half a minute old, else the one of now.
    pub(crate) fn stale_list(&mut self, now: Duration) -> Vec<InstanceRecord> {
        let old = now.saturating_sub(Duration::from_secs(30));
        let found = self.old.iter().rev().find(|(at, _)| *at <= old).map(|(_, list)| list.clone());
        found.unwrap_or_else(|| self.list(now))
    }
}
