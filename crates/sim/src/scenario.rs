//! What happens in one simulation, told in full: the pools, the engines, and every fault with its time. Data only.
//!
//! A scenario is made from a seed, or read from a script. Nothing is drawn at random while it runs but latencies, which come
//! from its seed, so that a fault can be taken out without changing when the others strike.

use std::time::Duration;

/// One simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Of names, ids and latencies.
    pub seed: u64,
    /// Pools; `p0`, `p1`, … in the script.
    pub pools: Vec<PoolPlan>,
    /// Engines; `e0`, `e1`, … in the script.
    pub engines: Vec<EnginePlan>,
    /// GitHub.
    pub github: GithubPlan,
    /// Everything that takes time outside ends at a multiple of this.
    pub tick: Duration,
    /// The longest that an ordinary call takes.
    pub latency: Duration,
    /// How long the disk takes for a commit.
    pub sync: Duration,
    /// In order of their time.
    pub items: Vec<Item>,
}

/// How long an idle runner's replacement takes beside the boot of the instance that takes its place in the stock.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);

impl Scenario {
    /// The engines of a pool.
    pub(crate) fn engines_of<'a>(
        &'a self,
        plan: &'a PoolPlan,
    ) -> impl Iterator<Item = &'a EnginePlan> {
        plan.engines.iter().filter_map(|index| self.engines.get(*index))
    }

    /// The pools that may use an engine.
    pub(crate) fn pools_of(&self, engine: usize) -> impl Iterator<Item = &PoolPlan> {
        self.pools.iter().filter(move |pool| pool.engines.contains(&engine))
    }

    /// Whether a pool's stock may have to do without room: a budget that its pools share holds less than all want to keep.
    pub(crate) fn is_tight(&self, pool: &PoolPlan) -> bool {
        pool.engines.iter().any(|engine| {
            let kept: u32 = self.pools_of(*engine).map(|other| other.min_idle + other.warm).sum();
            let limit = self.engines.get(*engine).and_then(|engine| engine.runners);
            limit.is_some_and(|limit| limit < kept)
        })
    }

    /// Whether GitHub removes the pool's idle runners, one after the other, faster than its stock is refilled: it never comes to
    /// rest.
    pub(crate) fn is_restless(&self, pool: usize) -> bool {
        let Some(plan) = self.pools.get(pool) else { return false };
        let boots = self.engines_of(plan).map(|engine| engine.boot);
        let boot = boots.max().unwrap_or(Duration::ZERO);
        let between = self.github.idle_removal.map(|after| after / plan.min_idle.max(1));
        plan.min_idle > 0 && between.is_some_and(|between| boot + REPLACED_WITHIN > between)
    }
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlan {
    /// The indexes of its engines, in the user's order: at least one.
    pub engines: Vec<usize>,
    /// Whether runners are spread over them; else the first that can makes them.
    pub spread: bool,
    /// Processors that each of its instances takes; 0: the user does not say.
    pub cpus: u32,
    /// Instances at most.
    pub max: u32,
    /// Idle runners beside the busy ones.
    pub min_idle: u32,
    /// Instances kept booted.
    pub warm: u32,
    /// Where it learns how many runners it should have.
    pub source: Source,
    /// How long a job may run, where the user says so.
    pub job_timeout: Option<Duration>,
}

/// Where a pool learns how many runners it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A scale set's messages.
    ScaleSet,
    /// Kept full: its runners register by themselves, and nobody tells of jobs.
    Fixed,
    /// GitHub's webhooks; its runners register by themselves.
    Webhook,
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnginePlan {
    /// From the create call's end to ready.
    pub boot: Duration,
    /// Create calls at once.
    pub creates: u32,
    /// Instances that it has room for.
    pub room: u32,
    /// Whether it says of itself that it boots fast.
    pub fast: bool,
    /// How many instances the user lets all pools have on it.
    pub runners: Option<u32>,
    /// How many processors, counted as the pools' instances take them.
    pub cpus: Option<u32>,
}

impl EnginePlan {
    /// How many instances that take so many processors its budget has room for.
    pub(crate) fn budget_for(&self, cpus: u32) -> u32 {
        let by_cpus = self.cpus.filter(|_| cpus > 0).map_or(u32::MAX, |limit| limit / cpus);
        self.runners.unwrap_or(u32::MAX).min(by_cpus)
    }
}

/// GitHub's durations and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubPlan {
    /// Jobs are acquired by us, as on GHES.
    pub acquire: bool,
    /// Idle runners are removed after this.
    pub idle_removal: Option<Duration>,
    /// A configuration is stale after this.
    pub jit_life: Duration,
    /// Life of the service's token.
    pub admin_life: Duration,
    /// Life of a queue's token.
    pub queue_life: Duration,
    /// The daemon signs in as an App, whose installation's tokens live so long; else it has a token that never ends.
    pub app_life: Option<Duration>,
    /// Repositories beside the one whose jobs are for us: a job of each, for somebody else, ended just before the start.
    pub others: u32,
    /// Calls that change something are refused beyond so many a minute.
    pub writes: Option<u32>,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// When, after the start.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Jobs for a pool are queued.
    Jobs {
        /// The pool.
        pool: usize,
        /// How many, in one run.
        count: usize,
        /// How long each takes.
        takes: Duration,
    },
    /// A user cancels the job with this number (jobs are numbered as they are queued, from 0).
    Cancel {
        /// Which.
        job: usize,
        /// Without asking its runner.
        force: bool,
    },
    /// A user runs the failed jobs of that job's run again.
    Rerun {
        /// Which.
        job: usize,
    },
    /// GitHub calls a job over while its runner still works (F7).
    CallOver {
        /// Which.
        job: usize,
    },
    /// Calls on GitHub go wrong.
    Github {
        /// The route's name, a family (`sessions.*`) or `*`.
        route: String,
        /// How many calls.
        count: u64,
        /// How.
        fault: GithubFault,
    },
    /// Nobody reaches GitHub.
    Outage {
        /// For how long.
        lasts: Duration,
        /// 503, rather than no connection.
        answers: bool,
    },
    /// A pool's scale set vanishes (F2).
    LoseSet {
        /// The pool.
        pool: usize,
    },
    /// A pool's session is gone: expired, or evicted (F3).
    LoseSession {
        /// The pool.
        pool: usize,
        /// The broker lost it.
        evicted: bool,
    },
    /// Somebody else has a scale set of the pool's name, with a session; the pool's own is gone.
    ForeignSet {
        /// The pool.
        pool: usize,
        /// For how long.
        lasts: Duration,
    },
    /// Somebody else opens a session on the pool's scale set, once the pool's own is lost.
    ForeignSession {
        /// The pool.
        pool: usize,
        /// For how long they poll, and take the messages; zero: never, and GitHub ends the session after minutes.
        polls: Duration,
    },
    /// GitHub removes a registration.
    LoseRunner {
        /// Which of those that fit, counted round.
        nth: usize,
        /// One with a job.
        busy: bool,
    },
    /// All service and queue tokens are revoked.
    LoseTokens,
    /// Calls on an engine go wrong.
    Engine {
        /// The engine.
        engine: usize,
        /// Which calls.
        call: EngineCall,
        /// How many.
        count: u32,
        /// How.
        fault: EngineFault,
    },
    /// An engine can't be reached; its instances live on.
    EngineAway {
        /// The engine.
        engine: usize,
        /// For how long.
        lasts: Duration,
    },
    /// The engine's host restarts: all its instances are gone.
    Wipe {
        /// The engine.
        engine: usize,
    },
    /// An instance's process dies.
    Kill {
        /// Which of the living ones, counted round.
        nth: usize,
    },
    /// An engine's event stream breaks.
    WatchBreaks {
        /// The engine.
        engine: usize,
    },
    /// An engine's next events reach nobody.
    EventsLost {
        /// The engine.
        engine: usize,
        /// How many.
        count: u32,
    },
    /// The disk is full.
    DiskFull {
        /// For how long.
        lasts: Duration,
    },
    /// The daemon dies at a point from now on: before or after an effect or a commit.
    Crash {
        /// How many points later.
        points: u64,
        /// How long it stays away.
        down: Duration,
        /// How far the host's clock is off afterwards, in seconds.
        jump_s: i64,
    },
    /// The daemon dies, and its store comes back without the rows of runners, as after a rebuild.
    LoseRows,
    /// The daemon is asked to end, and started again.
    Restart {
        /// How long it stays away.
        down: Duration,
    },
    /// A second daemon is started on the store.
    Second,
    /// A user drains a pool.
    Drain {
        /// The pool.
        pool: usize,
    },
    /// A user takes that back.
    Undrain {
        /// The pool.
        pool: usize,
    },
    /// A user removes a runner.
    Remove {
        /// Which row, counted round.
        nth: usize,
        /// Even if it is busy.
        even_busy: bool,
    },
    /// A user has a pool's runners replaced.
    Flush {
        /// The pool.
        pool: usize,
        /// Even busy ones.
        even_busy: bool,
    },
    /// A user deletes a pool.
    DeletePool {
        /// The pool.
        pool: usize,
    },
    /// A pool's instances are made from something else from now on: a new image, setup or runner program.
    Renew {
        /// The pool.
        pool: usize,
    },
}

/// In place of an entry's type: every one.
pub(crate) const ALL_ENTRIES: &str = "all";

/// How a call on GitHub goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum GithubFault {
    /// An error status.
    Status(u16),
    /// Dropped before it was executed.
    Dropped,
    /// Executed, and the answer lost.
    AnswerLost,
    /// Executed at once, answered late.
    Late(Duration),
    /// Executed late: others overtake it.
    Overtaken(Duration),
    /// Executed twice.
    Twice,
    /// 200 with an empty body.
    Empty,
    /// Refused by the primary limit until then.
    PrimaryLimit(Duration),
    /// Refused by the secondary limit.
    SecondaryLimit(Duration),
    /// A session of someone else.
    Conflict,
    /// Statistics of zeros.
    ZeroStatistics,
    /// Statistics from before the message's own entries.
    StaleStatistics,
    /// A message with its entries the last one first.
    Reversed,
    /// A poll that hears nothing.
    Stuck(Duration),
    /// A message without its entries of this type; [`ALL_ENTRIES`]: without any.
    Lose(String),
    /// A message with an entry that is none.
    Poison,
    /// Half an answer.
    Truncated,
    /// A webhook's delivery that is never sent, and that GitHub itself knows nothing of.
    Unsent,
    /// A webhook's delivery that comes late by some part of this: others overtake it.
    Shuffled(Duration),
}

/// A call on an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineCall {
    /// Make.
    Create,
    /// Look up.
    Inspect,
    /// Hand over.
    HandOver,
    /// Destroy.
    Destroy,
    /// List.
    List,
}

/// How a call on an engine goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineFault {
    /// Refused for want of room.
    NoCapacity,
    /// Refused by a quota.
    Quota,
    /// Refused for want of the image.
    ImageMissing,
    /// Refused, for now.
    Transient,
    /// Never answered, and nothing done.
    Hangs,
    /// Never answered, and done.
    HangsDone,
    /// Done, and the answer lost.
    AnswerLost,
    /// Answered "perhaps", and done much later.
    Later(Duration),
    /// Done twice.
    Twice,
    /// Answered slowly.
    Slow(Duration),
    /// The instance never boots.
    NeverBoots,
    /// The instance boots after this.
    BootsAfter(Duration),
    /// A list of how it was half a minute ago.
    Stale,
    /// A list with some left out.
    Partial,
}
