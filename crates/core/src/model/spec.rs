//! What the user wants: the configuration, checked, without its secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{
    BackendName, Budget, Detected, InstanceSpec, Place, Placement, PoolName, Program, ProgramState,
    ScopeName, image::short_mark,
};

/// What the user wants of the whole controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    /// Scopes by name.
    pub scopes: BTreeMap<ScopeName, ScopeSpec>,
    /// Pools by name.
    pub pools: BTreeMap<PoolName, PoolSpec>,
    /// How much of each backend may be used; without limits where none is here.
    pub budgets: BTreeMap<BackendName, Budget>,
    /// Which of these limits a backend tells itself.
    pub detected: BTreeMap<BackendName, Detected>,
}

impl Spec {
    /// The same with what there is of each pool's runner program now: `find` is asked for every one that is wanted.
    #[must_use]
    pub fn with_programs(&self, find: impl Fn(&ScopeName, &Program) -> ProgramState) -> Self {
        let mut spec = self.clone();
        for pool in spec.pools.values_mut() {
            let Some(program) = pool.program() else { continue };
            let state = find(&pool.scope, program);
            let PoolSpec { demand, scope, group, labels, places, .. } = pool;
            for place in places {
                let mut instance = InstanceSpec::clone(&place.instance);
                let Some(lxd) = &mut instance.lxd else { continue };
                if let Some(program) = &mut lxd.program {
                    program.state = state.clone();
                }
                place.mark = demand.mark(&instance, scope, group, labels).into();
                place.instance = Arc::new(instance);
            }
        }
        spec
    }
}

/// Where runners register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeSpec {
    /// The scope's address as the user wrote it, without a trailing slash.
    pub url: String,
    /// What the address names.
    pub kind: ScopeKind,
    /// The repositories (`OWNER/REPO`) whose jobs are caught up on; none: those that were active of late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
}

/// What a scope's address names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// `https://HOST/OWNER`
    Organization(String),
    /// `https://HOST/OWNER/REPO`
    Repository {
        /// The owner.
        owner: String,
        /// The repository.
        name: String,
    },
    /// `https://HOST/enterprises/NAME`
    Enterprise(String),
}

/// A named set of equal runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name.
    pub name: PoolName,
    /// The scope its runners register with.
    pub scope: ScopeName,
    /// Labels beside `self-hosted` and the scale set's name, as the user wrote them.
    pub labels: Vec<String>,
    /// The runner group's name.
    pub group: String,
    /// Where the pool learns how many runners it should have.
    pub demand: DemandSource,
    /// The backends that make the pool's instances, in the user's order: at least one, and none twice.
    pub places: Vec<Place>,
    /// How one of them is chosen for a new runner.
    pub placement: Placement,
    /// Pools with a higher priority are served first where they share a limit.
    pub priority: i32,
    /// How many, when no schedule says else.
    pub limits: Limits,
    /// Changes of the limits by the calendar, in the user's order.
    pub schedules: Vec<Schedule>,
    /// How long each state may last.
    pub deadlines: Deadlines,
}

/// Where a pool learns how many runners it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemandSource {
    /// A scale set of its own, whose messages tell of jobs.
    ScaleSet(ScaleSetSpec),
    /// Nowhere: it keeps `min_idle` idle runners beside the busy ones, up to `max`. Its runners register by themselves, and
    /// GitHub gives each of them any job that asks for labels of theirs.
    Fixed,
    /// From GitHub's webhooks, and from its REST API where one of them was lost. Its runners register by themselves too.
    Webhook,
}

/// A pool's scale set, as the user wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleSetSpec {
    /// Its name at GitHub.
    pub name: String,
    /// Whether a set of that name that this store did not make may be taken over, if it has no session and no runners.
    pub adopt: bool,
}

impl DemandSource {
    /// A short mark of what a runner can't change in its life: its instance, and where it registers by itself what it registers
    /// with. A scale set's labels are the set's, and change with it.
    #[must_use]
    pub fn mark(
        &self,
        instance: &InstanceSpec,
        scope: &ScopeName,
        group: &str,
        labels: &[String],
    ) -> String {
        match self {
            Self::ScaleSet(_) => instance.mark(),
            Self::Fixed | Self::Webhook => {
                // GitHub compares labels and groups without case, and labels without order.
                let labels: BTreeSet<String> =
                    labels.iter().map(|label| label.to_lowercase()).collect();
                let group = group.to_lowercase();
                short_mark(&format!("{} {scope} {group:?} {labels:?}", instance.mark()))
            }
        }
    }
}

impl PoolSpec {
    /// What the pool's instances are made from on a backend; `None` where it makes none there.
    #[must_use]
    pub fn place(&self, backend: &BackendName) -> Option<&Place> {
        self.places.iter().find(|place| place.backend == *backend)
    }

    /// The runner program that is put into its instances, the same on every backend; `None`: their image has it.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        self.places.iter().find_map(|place| place.instance.lxd.as_ref()?.program.as_ref())
    }

    /// The pool's scale set, where it has one.
    #[must_use]
    pub fn scale_set(&self) -> Option<&ScaleSetSpec> {
        match &self.demand {
            DemandSource::ScaleSet(set) => Some(set),
            DemandSource::Fixed | DemandSource::Webhook => None,
        }
    }

    /// The labels of the pool's runners: the pool's own, `self-hosted` and the scale set's name where there is one, once
    /// each, compared without case.
    #[must_use]
    pub fn all_labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        let set = self.scale_set().map(|set| set.name.as_str());
        for label in
            set.into_iter().chain(["self-hosted"]).chain(self.labels.iter().map(String::as_str))
        {
            if !labels.iter().any(|known| known.eq_ignore_ascii_case(label)) {
                labels.push(label.to_owned());
            }
        }
        labels
    }
}

/// How many runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Instances kept booted and unregistered.
    pub warm: u32,
    /// Runners kept online and idle beside the busy ones.
    pub min_idle: u32,
    /// Instances at any time, in whatever state.
    pub max: u32,
}

/// A change of limits by the calendar: in force from each match of `cron` until the next match of any schedule of
/// the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Five fields, as cron has them.
    pub cron: String,
    /// The time zone in which `cron` is read, by its IANA name.
    pub timezone: String,
    /// `warm` from then on; `None`: as it stands without schedules.
    pub warm: Option<u32>,
    /// `min_idle` from then on.
    pub min_idle: Option<u32>,
    /// `max` from then on.
    pub max: Option<u32>,
}

/// How long each state may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// From the create call to the engine's answer, or to the instance's appearance.
    pub creating: SignedDuration,
    /// From the engine's answer to ready.
    pub booting: SignedDuration,
    /// For a registration to be minted.
    pub minting: SignedDuration,
    /// From the hand-over to online.
    pub starting: SignedDuration,
    /// For a runner online without a job, beyond `min_idle`.
    pub idle: SignedDuration,
    /// For a removal, before it is forced.
    pub removing: SignedDuration,
    /// For a job, counted as time seen elapsing.
    pub job_timeout: SignedDuration,
    /// For a warm instance, before it is replaced.
    pub warm: SignedDuration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            creating: SignedDuration::from_mins(5),
            booting: SignedDuration::from_mins(5),
            minting: SignedDuration::from_mins(2),
            starting: SignedDuration::from_mins(3),
            idle: SignedDuration::from_mins(10),
            removing: SignedDuration::from_mins(10),
            job_timeout: SignedDuration::from_hours(6),
            warm: SignedDuration::from_hours(24),
        }
    }
}
