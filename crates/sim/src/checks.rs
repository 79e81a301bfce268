//! The promises, as named checks: how often each was looked at, what broke, and what was excused and why.

use std::{collections::BTreeMap, fmt, time::Duration};

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A promise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check { $($(#[$doc])* $name,)* }

        impl Check {
            /// Every check.
            pub const ALL: &[Check] = &[$(Check::$name),*];

            /// Its name in reports and scripts.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Check::$name => $text),* }
            }
        }
    };
}

checks! {
    /// An instance is handed one configuration at most, and runs one job of our giving.
    OneJob = "one-job-per-instance",
    /// A job starts once.
    StartsOnce = "a-job-starts-once",
    /// A job that a pool could take starts in time, unless its own rules end it.
    StartsInTime = "a-job-starts-in-time",
    /// A job that ends badly does so for a cause of the user's, GitHub's or the engine's.
    EndsForCause = "a-job-ends-for-a-cause",
    /// A job runs no longer than its pool's `job_timeout`.
    JobLimit = "a-job-ends-at-its-limit",
    /// Never more instances than `max`.
    Max = "never-above-max",
    /// Never more on a backend than its budget lets.
    BackendBudget = "never-above-a-budget",
    /// What waits for no job gives way to a runner of another pool that has no room.
    GivesWay = "stock-gives-way-to-jobs",
    /// An instance whose runner has a job is not destroyed.
    Busy = "busy-is-never-destroyed",
    /// What is not ours is not touched.
    OursOnly = "only-our-own-is-touched",
    /// Only what the store does not know is an orphan.
    Orphans = "only-strangers-are-orphans",
    /// Nothing is begun before its intent is stored.
    IntentFirst = "intent-before-effect",
    /// A message is deleted only once its content is stored.
    StoreFirst = "stored-before-acknowledged",
    /// A configuration is used by the life of the daemon that minted it.
    ConfigurationInMemory = "configuration-lives-in-memory",
    /// GitHub is left alone until the time that it named.
    RateLimit = "rate-limits-are-kept",
    /// Calls are as many as jobs, time and faults ask for.
    Budget = "calls-within-budget",
    /// An instance is made from what its row says.
    Origin = "made-from-what-its-row-says",
    /// Failing creation backs off for the whole pool.
    BackOff = "creation-backs-off",
    /// What is advertised can be kept.
    Capacity = "capacity-is-a-promise",
    /// A new session begins at the first message.
    Cursor = "a-session-begins-at-its-start",
    /// Where a job waits, the explanation names a condition, and none that is over.
    Explained = "waiting-is-explained",
    /// When a wait ends, something that it was said to wait for has changed.
    WaitEnds = "a-wait-ends-as-explained",
    /// Every store is one daemon's.
    Lock = "one-daemon-per-store",
    /// The daemon ends only when it is told to.
    Lives = "the-daemon-lives",
    /// Where nothing happens, nothing is planned.
    Quiet = "a-quiet-world-plans-nothing",
    /// A quiet world is as it was configured.
    Settles = "a-quiet-world-is-as-configured",
    /// Once the pools are deleted nothing of ours is left.
    NothingLeft = "nothing-is-left",
    /// A daemon that is asked to end does so in time, and closes its sessions.
    Ends = "the-daemon-ends-when-asked",
    /// Without any fault, no runner is made that no job needs.
    NoExcess = "no-runner-without-need",
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub check: Check,
    /// When, after the start.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.check, self.at.as_secs_f64(), self.what)
    }
}

/// How many violations of one simulation are told: what follows the first is mostly its consequence.
const TOLD_MAX: usize = 20;

/// What the checks found.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    looked: [u64; Check::ALL.len()],
    pub violations: Vec<Violation>,
    pub excused: BTreeMap<&'static str, u64>,
}

impl Checks {
    /// Looks at one promise; when and what is asked for only where it is broken. The violation, if it is one that is told.
    pub(crate) fn look(
        &mut self,
        check: Check,
        kept: bool,
        broken: impl FnOnce() -> (Duration, String),
    ) -> Option<&Violation> {
        self.looked[check as usize] += 1;
        if kept || self.violations.len() >= TOLD_MAX {
            return None;
        }
        let (at, what) = broken();
        self.violations.push(Violation { check, at, what });
        self.violations.last()
    }

    /// Counts an exception that the promise itself makes.
    pub(crate) fn excuse(&mut self, why: &'static str) {
        *self.excused.entry(why).or_default() += 1;
    }

    /// How often any promise was looked at.
    pub(crate) fn looked(&self) -> u64 {
        self.looked.iter().sum()
    }
}
