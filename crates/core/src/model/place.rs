//! Where a pool's instances are made: its backends with what each makes them from, and how much of a backend may be used.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{BackendName, InstanceSpec, PoolName, TroubleKey};

/// One of a pool's backends, and what the pool's instances are made from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The backend.
    pub backend: BackendName,
    /// What each instance is made from.
    pub instance: Arc<InstanceSpec>,
    /// [`super::DemandSource::mark`], made once: runners with another one are replaced once they are free.
    pub mark: Arc<str>,
}

impl Place {
    /// What the troubles of a pool's creation here are remembered under.
    #[must_use]
    pub fn creation_key(&self, pool: &PoolName) -> TroubleKey {
        TroubleKey::Creation {
            pool: pool.clone(),
            backend: self.backend.clone(),
            mark: self.mark.clone(),
        }
    }
}

/// How a new runner's place is chosen among those that can take it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Placement {
    /// The first in the user's order.
    #[default]
    InOrder,
    /// The one of which the least is used.
    Spread,
}

/// What one instance takes of its backend's budget, beside its place among the runners. What its pool sets no limit on is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Share {
    /// What an instance of this spec takes.
    #[must_use]
    pub fn of(instance: &InstanceSpec) -> Self {
        Self {
            cpu_millis: instance.cpu_millis.unwrap_or(0),
            memory_bytes: instance.memory_bytes.unwrap_or(0),
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of a backend the runners of all pools may use at once. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Instances, in whatever state.
    pub runners: Option<u32>,
}

/// How much a backend says that it has, in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// Which limits of a backend's budget are what it says that it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detected {
    /// Processors.
    pub cpus: bool,
    /// Memory.
    pub memory: bool,
}

impl Detected {
    /// Whether the backend is asked for anything.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.cpus || self.memory
    }
}

/// How much of a backend is used by the instances that may live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Instances.
    pub runners: u32,
}

impl Used {
    /// With one instance more.
    #[must_use]
    pub fn plus(self, share: Share) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(share.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(share.memory_bytes),
            runners: self.runners.saturating_add(1),
        }
    }

    /// With one instance less.
    #[must_use]
    pub fn minus(self, share: Share) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(share.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(share.memory_bytes),
            runners: self.runners.saturating_sub(1),
        }
    }
}

/// Parts of a whole in [`Budget::load`].
pub const LOAD_WHOLE: u64 = 1_000_000;

impl Budget {
    /// With the limits that are what the backend has.
    #[must_use]
    pub fn with(self, capacity: Capacity, detected: Detected) -> Self {
        Self {
            cpu_millis: if detected.cpus { Some(capacity.cpu_millis) } else { self.cpu_millis },
            memory_bytes: if detected.memory {
                Some(capacity.memory_bytes)
            } else {
                self.memory_bytes
            },
            runners: self.runners,
        }
    }

    /// Whether anything is limited.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }

    /// How many more instances of this share fit beside what is used.
    #[must_use]
    pub fn room(&self, used: Used, share: Share) -> u32 {
        let fit = |limit: Option<u64>, used: u64, each: u64| match limit {
            // What takes nothing of it is not kept from it.
            Some(limit) if each > 0 => limit.saturating_sub(used) / each,
            _ => u64::MAX,
        };
        let cpus = fit(self.cpu_millis, used.cpu_millis, share.cpu_millis);
        let memory = fit(self.memory_bytes, used.memory_bytes, share.memory_bytes);
        let runners = fit(self.runners.map(u64::from), u64::from(used.runners), 1);
        u32::try_from(cpus.min(memory).min(runners)).unwrap_or(u32::MAX)
    }

    /// Whether it has as much as that.
    #[must_use]
    pub fn holds(&self, used: Used) -> bool {
        self.cpu_millis.is_none_or(|limit| used.cpu_millis <= limit)
            && self.memory_bytes.is_none_or(|limit| used.memory_bytes <= limit)
            && self.runners.is_none_or(|limit| used.runners <= limit)
    }

    /// How much of it is used, in parts of [`LOAD_WHOLE`], by what most of is used of; `None` without a limit.
    #[must_use]
    pub fn load(&self, used: Used) -> Option<u64> {
        let part = |limit: Option<u64>, used: u64| {
            let part = u128::from(used) * u128::from(LOAD_WHOLE) / u128::from(limit?.max(1));
            Some(u64::try_from(part).unwrap_or(u64::MAX))
        };
        let cpus = part(self.cpu_millis, used.cpu_millis);
        let memory = part(self.memory_bytes, used.memory_bytes);
        cpus.max(memory).max(part(self.runners.map(u64::from), u64::from(used.runners)))
    }

    /// What is used of it, as people read it: "3.5 of 4 cpus, 7 of 8 GiB, 2 of 40 runners".
    #[must_use]
    pub fn told(&self, used: Used) -> String {
        let mut parts = Vec::new();
        if let Some(limit) = self.cpu_millis {
            parts.push(format!("{} of {} cpus", Thousandths(used.cpu_millis), Thousandths(limit)));
        }
        if let Some(limit) = self.memory_bytes {
            parts.push(format!("{} of {} GiB", gibibytes(used.memory_bytes), gibibytes(limit)));
        }
        if let Some(limit) = self.runners {
            parts.push(format!("{} of {limit} runners", used.runners));
        }
        parts.join(", ")
    }
}

/// Thousandths, as a decimal number.
struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000, self.0 % 1_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:03}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

fn gibibytes(bytes: u64) -> Thousandths {
    let thousandths = u128::from(bytes) * 1_000 / (1 << 30);
    Thousandths(u64::try_from(thousandths).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn budget(cpus: Option<u64>, gibibytes: Option<u64>, runners: Option<u32>) -> Budget {
        Budget {
            cpu_millis: cpus.map(|cpus| cpus * 1_000),
            memory_bytes: gibibytes.map(|gibibytes| gibibytes * GIB),
            runners,
        }
    }

    #[test]
    fn as_many_fit_as_the_scarcest_lets() {
        let share = Share { cpu_millis: 1_500, memory_bytes: 2 * GIB };
        let used = Used::default().plus(share).plus(share);
        let check = |budget: Budget, room: u32, load: Option<u64>, told: &str| {
            assert_eq!(budget.room(used, share), room, "{budget:?}");
            assert_eq!(budget.load(used), load, "{budget:?}");
            assert_eq!(budget.told(used), told);
        };
        check(Budget::default(), u32::MAX, None, "");
        check(budget(Some(4), None, None), 0, Some(750_000), "3 of 4 cpus");
        check(budget(Some(5), None, None), 1, Some(600_000), "3 of 5 cpus");
        check(
            budget(Some(32), Some(8), Some(40)),
            2,
            Some(500_000),
            "3 of 32 cpus, 4 of 8 GiB, 2 of 40 runners",
        );
        check(budget(None, None, Some(2)), 0, Some(1_000_000), "2 of 2 runners");
        // A budget that was lowered.
        check(budget(None, None, Some(1)), 0, Some(2_000_000), "2 of 1 runners");
    }

    #[test]
    fn what_takes_nothing_is_not_kept_from_it() {
        let full = Used { cpu_millis: 4_000, memory_bytes: 0, runners: 1 };
        assert_eq!(budget(Some(4), None, None).room(full, Share::default()), u32::MAX);
        assert_eq!(budget(Some(4), None, Some(3)).room(full, Share::default()), 2);
    }

    #[test]
    fn an_instance_less_is_an_instance_more_undone() {
        let share = Share { cpu_millis: 500, memory_bytes: GIB };
        let used = Used::default().plus(Share::default());
        assert_eq!(used.plus(share).minus(share), used);
        assert_eq!(Used::default().minus(share), Used::default());
    }
}
