//! Planted bugs: mistakes that a maintainer could make, each of which the simulation has to find (docs/simulation.md).
//!
//! Without the feature `mutants` [`planted`] is `false` for all of them, and the compiler leaves nothing of them. With it,
//! which refuses a build without debug assertions, one of them is chosen for the whole process when it starts. This is the
//! only global of the crate, and nothing else may depend on it.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!(
    "the feature `mutants` plants bugs into dayfly and is for `cargo xtask mutants` alone: it needs debug assertions"
);

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A mistake that can be planted. Its documentation says what the wrong program does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// Every bug.
            pub const ALL: &[Bug] = &[$(Bug::$name),*];

            /// Its name on the command line and in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Bug::$name => $text),* }
            }
        }
    };
}

bugs! {
    /// Deletes a message at GitHub before its content is stored.
    AckBeforeStore = "ack-before-store",
    /// Does not hear that an instance's process has ended, neither from an event nor from a list.
    ExitProofDropped = "exit-proof-dropped",
    /// Takes a busy runner that GitHub does not know any more for one that may be destroyed.
    NotFoundIsConsent = "not-found-is-consent",
    /// Destroys an instance that the store does not know without asking GitHub what it is.
    OrphanGateSkipped = "orphan-gate-skipped",
    /// Goes on to think that an instance is ready though its hand-over has begun.
    SpentInstanceReused = "spent-instance-reused",
    /// Begins a new session at the message where the last one ended.
    CursorNotReset = "cursor-not-reset",
    /// Never asks for fresh statistics while a session stands.
    StatisticsNeverRefreshed = "statistics-never-refreshed",
    /// Advertises `max`, whatever the pool and its backend can take.
    CapacityAlwaysMax = "capacity-always-max",
    /// Remembers a failed creation on its row alone, and makes the next row at once.
    BackOffPerRow = "back-off-per-row",
    /// Makes one instance more where `max` is reached: `>` for `>=`.
    OneAboveMax = "one-above-max",
    /// Opens a store that another daemon has locked.
    StoreLockIgnored = "store-lock-ignored",
    /// Judges a list of instances by the rows that there were when it was begun.
    RowsBeforeList = "rows-before-list",
    /// Takes an instance's absence from any list for its end.
    GraceAgeDropped = "grace-age-dropped",
    /// Keeps JIT configurations over a restart, and hands them over.
    ConfigurationStored = "configuration-stored",
    /// Adds the jobs of the statistics and those of the messages up.
    DemandCountedTwice = "demand-counted-twice",
    /// Deletes a scale set to get rid of the session that somebody else has on it.
    SessionOfAnotherDeleted = "session-of-another-deleted",
    /// Takes a list of registrations that was begun before they were made for the state of now.
    LateAnswerTakenAsNew = "late-answer-taken-as-new",
    /// Goes on to ask GitHub before the time that it named.
    RateLimitIgnored = "rate-limit-ignored",
    /// Counts an instance that is booted and unregistered as a runner that waits for a job.
    WarmCountedAsIdle = "warm-counted-as-idle",
    /// Believes an assignment for ever, though GitHub takes it back.
    ReassignmentDeadlineIgnored = "reassignment-deadline-ignored",
    /// Begins effects before the rows that they belong to are stored.
    EffectBeforeIntent = "effect-before-intent",
    /// Takes what bears the name of a runner that is gone for old news, for ever.
    LateCreationIgnored = "late-creation-ignored",
    /// Goes on to take jobs for a drained pool.
    DrainedPoolOpen = "drained-pool-open",
    /// Takes a scale set of the wanted name for its own, whoever made it.
    ForeignSetTaken = "foreign-set-taken",
    /// Takes a registration for its own by the pool in its name, not by the controller.
    ForeignRegistrationRemoved = "foreign-registration-removed",
    /// Destroys the instance of an idle runner that is too many before GitHub let go of it.
    SurplusDestroyedUnasked = "surplus-destroyed-unasked",
    /// Waits out a time that lies in the future because the clock was set back.
    ClockSetBackIgnored = "clock-set-back-ignored",
    /// Forgets the rows of a commit that the store refused.
    FailedCommitForgotten = "failed-commit-forgotten",
    /// Lists engines at the start and after a broken stream, and never by the clock.
    NeverListedAgain = "never-listed-again",
    /// Tries a failed call on one runner again at once.
    NoWaitBetweenAttempts = "no-wait-between-attempts",
    /// Says nothing of failed creation where a job waits for its next attempt.
    ConditionNotNamed = "condition-not-named",
    /// Lets runners that are kept idle time out like any other.
    MinIdleTimesOut = "min-idle-times-out",
    /// Makes another runner for a job whose runner has ended and whose completion no message has told yet.
    EndedRunnerNotCounted = "ended-runner-not-counted",
    /// Makes runners on a backend whose budget is used up.
    BudgetIgnored = "budget-ignored",
    /// Keeps instances that wait for no job while a job of another pool waits for their room.
    StockKeepsTheBudget = "stock-keeps-the-budget",
    /// Keeps warm and idle runners whose pool has another image by now.
    OutdatedKept = "outdated-kept",
    /// Lists the jobs that wait at its start and never again, so that a webhook that was lost is not made good.
    NeverCaughtUp = "never-caught-up",
    /// Uses the service's token for ever.
    TokenNeverRenewed = "token-never-renewed",
}

/// Whether this bug is planted.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use chosen::{plant, planted};

#[cfg(feature = "mutants")]
mod chosen {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Bug;

    /// The place of the chosen bug in [`Bug::ALL`], from 1; 0: none.
    static CHOSEN: AtomicUsize = AtomicUsize::new(0);

    /// Plants a bug in place of the one before; `None`: the program is right again.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        CHOSEN.load(Ordering::Relaxed) == bug as usize + 1
    }
}
