//! Scenarios as text: one thing a line, so that a failing seed, shrunk, can be read, kept and run again.
//!
//! ```text
//! # What this shows, in a few words.
//! seed 17
//! network tick 0.05s latency 0.2s
//! disk sync 0s
//! github assigns jit 3600s admin 3600s queue 3000s
//! engine boot 8s creates 4 room 20 fast
//! engine boot 40s creates 4 room 20 slow runners 6 cpus 8
//! pool engine 0 max 4 min-idle 0 warm 1
//! pool engine 1,0 max 4 min-idle 0 warm 1 spread cpus 2
//! pool engine 0 max 5 min-idle 5 warm 0 fixed
//! at 0s jobs p0 3 taking 30s
//! at 12.5s crash after 17 down 30s jump 0
//! ```

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use crate::scenario::{
    EngineCall, EngineFault, EnginePlan, GithubFault, GithubPlan, Item, PoolPlan, Scenario, Source,
    What,
};

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{text}` is not understood")]
pub struct Unreadable {
    /// Which line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "network tick {} latency {}", Seconds(self.tick), Seconds(self.latency))?;
        writeln!(f, "disk sync {}", Seconds(self.sync))?;
        let github = &self.github;
        write!(f, "github {}", if github.acquire { "acquires" } else { "assigns" })?;
        if let Some(idle) = github.idle_removal {
            write!(f, " idle-removal {}", Seconds(idle))?;
        }
        if let Some(life) = github.app_life {
            write!(f, " app {}", Seconds(life))?;
        }
        if github.others > 0 {
            write!(f, " others {}", github.others)?;
        }
        if let Some(writes) = github.writes {
            write!(f, " writes {writes}")?;
        }
        writeln!(
            f,
            " jit {} admin {} queue {}",
            Seconds(github.jit_life),
            Seconds(github.admin_life),
            Seconds(github.queue_life)
        )?;
        for engine in &self.engines {
            let EnginePlan { boot, creates, room, fast, runners, cpus } = engine;
            let fast = if *fast { "fast" } else { "slow" };
            write!(f, "engine boot {} creates {creates} room {room} {fast}", Seconds(*boot))?;
            if let Some(runners) = runners {
                write!(f, " runners {runners}")?;
            }
            if let Some(cpus) = cpus {
                write!(f, " cpus {cpus}")?;
            }
            writeln!(f)?;
        }
        for pool in &self.pools {
            let PoolPlan { engines, spread, cpus, max, min_idle, warm, source, job_timeout } = pool;
            let engines: Vec<String> = engines.iter().map(ToString::to_string).collect();
            let engines = engines.join(",");
            write!(f, "pool engine {engines} max {max} min-idle {min_idle} warm {warm}")?;
            match source {
                Source::ScaleSet => {}
                Source::Fixed => write!(f, " fixed")?,
                Source::Webhook => write!(f, " webhook")?,
            }
            if *spread {
                write!(f, " spread")?;
            }
            if *cpus > 0 {
                write!(f, " cpus {cpus}")?;
            }
            if let Some(limit) = job_timeout {
                write!(f, " job-timeout {}", Seconds(*limit))?;
            }
            writeln!(f)?;
        }
        for item in &self.items {
            writeln!(f, "at {} {}", Seconds(item.at), item.what)?;
        }
        Ok(())
    }
}

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs { pool, count, takes } => {
                write!(f, "jobs p{pool} {count} taking {}", Seconds(*takes))
            }
            Self::Cancel { job, force: false } => write!(f, "cancel job {job}"),
            Self::Cancel { job, force: true } => write!(f, "cancel job {job} by force"),
            Self::Rerun { job } => write!(f, "rerun job {job}"),
            Self::CallOver { job } => write!(f, "call-over job {job}"),
            Self::Github { route, count, fault } => write!(f, "github {route} x{count} {fault}"),
            Self::Outage { lasts, answers } => {
                let how = if *answers { "refusing" } else { "silent" };
                write!(f, "outage {} {how}", Seconds(*lasts))
            }
            Self::LoseSet { pool } => write!(f, "lose set p{pool}"),
            Self::LoseSession { pool, evicted } => {
                write!(f, "lose session p{pool} {}", if *evicted { "evicted" } else { "expired" })
            }
            Self::ForeignSet { pool, lasts } => {
                write!(f, "foreign set p{pool} {}", Seconds(*lasts))
            }
            Self::ForeignSession { pool, polls } if polls.is_zero() => {
                write!(f, "foreign session p{pool}")
            }
            Self::ForeignSession { pool, polls } => {
                write!(f, "foreign session p{pool} polling {}", Seconds(*polls))
            }
            Self::LoseRows => f.write_str("lose rows"),
            Self::LoseRunner { nth, busy } => {
                write!(f, "lose runner {nth} {}", if *busy { "busy" } else { "idle" })
            }
            Self::LoseTokens => f.write_str("lose tokens"),
            Self::Engine { engine, call, count, fault } => {
                write!(f, "engine e{engine} {call} x{count} {fault}")
            }
            Self::EngineAway { engine, lasts } => write!(f, "away e{engine} {}", Seconds(*lasts)),
            Self::Wipe { engine } => write!(f, "wipe e{engine}"),
            Self::Kill { nth } => write!(f, "kill {nth}"),
            Self::WatchBreaks { engine } => write!(f, "watch-breaks e{engine}"),
            Self::EventsLost { engine, count } => write!(f, "events-lost e{engine} {count}"),
            Self::DiskFull { lasts } => write!(f, "disk full {}", Seconds(*lasts)),
            Self::Crash { points, down, jump_s } => {
                write!(f, "crash after {points} down {} jump {jump_s}", Seconds(*down))
            }
            Self::Restart { down } => write!(f, "restart down {}", Seconds(*down)),
            Self::Second => f.write_str("second"),
            Self::Drain { pool } => write!(f, "drain p{pool}"),
            Self::Undrain { pool } => write!(f, "undrain p{pool}"),
            Self::Remove { nth, even_busy: false } => write!(f, "remove {nth}"),
            Self::Remove { nth, even_busy: true } => write!(f, "remove {nth} busy"),
            Self::Flush { pool, even_busy: false } => write!(f, "flush p{pool}"),
            Self::Flush { pool, even_busy: true } => write!(f, "flush p{pool} busy"),
            Self::DeletePool { pool } => write!(f, "delete p{pool}"),
            Self::Renew { pool } => write!(f, "renew p{pool}"),
        }
    }
}

impl Display for GithubFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Dropped => f.write_str("dropped"),
            Self::AnswerLost => f.write_str("answer-lost"),
            Self::Late(by) => write!(f, "late {}", Seconds(*by)),
            Self::Overtaken(by) => write!(f, "overtaken {}", Seconds(*by)),
            Self::Twice => f.write_str("twice"),
            Self::Empty => f.write_str("empty"),
            Self::PrimaryLimit(wait) => write!(f, "primary-limit {}", Seconds(*wait)),
            Self::SecondaryLimit(wait) => write!(f, "secondary-limit {}", Seconds(*wait)),
            Self::Conflict => f.write_str("conflict"),
            Self::ZeroStatistics => f.write_str("zero-statistics"),
            Self::StaleStatistics => f.write_str("stale-statistics"),
            Self::Reversed => f.write_str("reversed"),
            Self::Stuck(by) => write!(f, "stuck {}", Seconds(*by)),
            Self::Lose(kind) => write!(f, "lose {kind}"),
            Self::Poison => f.write_str("poison"),
            Self::Truncated => f.write_str("truncated"),
            Self::Unsent => f.write_str("unsent"),
            Self::Shuffled(by) => write!(f, "shuffled {}", Seconds(*by)),
        }
    }
}

const CALLS: [(EngineCall, &str); 5] = [
    (EngineCall::Create, "create"),
    (EngineCall::Inspect, "inspect"),
    (EngineCall::HandOver, "hand-over"),
    (EngineCall::Destroy, "destroy"),
    (EngineCall::List, "list"),
];

const PLAIN_FAULTS: [(EngineFault, &str); 11] = [
    (EngineFault::NoCapacity, "no-capacity"),
    (EngineFault::Quota, "quota"),
    (EngineFault::ImageMissing, "image-missing"),
    (EngineFault::Transient, "transient"),
    (EngineFault::Hangs, "hangs"),
    (EngineFault::HangsDone, "hangs-done"),
    (EngineFault::AnswerLost, "answer-lost"),
    (EngineFault::Twice, "twice"),
    (EngineFault::NeverBoots, "never-boots"),
    (EngineFault::Stale, "stale"),
    (EngineFault::Partial, "partial"),
];

impl Display for EngineCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(CALLS.iter().find(|(call, _)| call == self).map_or("?", |(_, word)| word))
    }
}

impl Display for EngineFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(by) => write!(f, "later {}", Seconds(*by)),
            Self::Slow(by) => write!(f, "slow {}", Seconds(*by)),
            Self::BootsAfter(by) => write!(f, "boots-after {}", Seconds(*by)),
            plain => f.write_str(
                PLAIN_FAULTS.iter().find(|(fault, _)| fault == plain).map_or("?", |(_, word)| word),
            ),
        }
    }
}

impl Scenario {
    /// Reads a script. Lines that begin with `#`, and empty ones, say nothing to the simulation.
    ///
    /// # Errors
    /// The first line that is not understood, or that names a pool or an engine that is not there.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut scenario = Self {
            seed: 1,
            pools: Vec::new(),
            engines: Vec::new(),
            github: GithubPlan {
                acquire: false,
                idle_removal: None,
                jit_life: Duration::from_secs(3_600),
                admin_life: Duration::from_secs(3_600),
                queue_life: Duration::from_secs(3_000),
                app_life: None,
                others: 0,
                writes: None,
            },
            tick: Duration::from_millis(50),
            latency: Duration::from_millis(200),
            sync: Duration::ZERO,
            items: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            scenario
                .read(&words)
                .ok_or_else(|| Unreadable { line: number + 1, text: line.to_owned() })?;
        }
        scenario.items.sort_by_key(|item| item.at);
        Ok(scenario)
    }

    fn read(&mut self, words: &[&str]) -> Option<()> {
        match words {
            ["seed", seed] => self.seed = seed.parse().ok()?,
            ["network", "tick", tick, "latency", latency] => {
                self.tick = seconds(tick)?;
                self.latency = seconds(latency)?;
            }
            ["disk", "sync", sync] => self.sync = seconds(sync)?,
            ["github", mode @ ("assigns" | "acquires"), rest @ ..] => {
                self.github.acquire = *mode == "acquires";
                for pair in rest.chunks(2) {
                    match pair {
                        ["idle-removal", after] => self.github.idle_removal = Some(seconds(after)?),
                        ["app", life] => self.github.app_life = Some(seconds(life)?),
                        ["others", count] => self.github.others = count.parse().ok()?,
                        ["writes", count] => self.github.writes = Some(count.parse().ok()?),
                        ["jit", life] => self.github.jit_life = seconds(life)?,
                        ["admin", life] => self.github.admin_life = seconds(life)?,
                        ["queue", life] => self.github.queue_life = seconds(life)?,
                        _ => return None,
                    }
                }
            }
            [
                "engine",
                "boot",
                boot,
                "creates",
                creates,
                "room",
                room,
                speed @ ("fast" | "slow"),
                budget @ ..,
            ] => {
                let mut engine = EnginePlan {
                    boot: seconds(boot)?,
                    creates: creates.parse().ok()?,
                    room: room.parse().ok()?,
                    fast: *speed == "fast",
                    runners: None,
                    cpus: None,
                };
                for pair in budget.chunks(2) {
                    match pair {
                        ["runners", runners] => engine.runners = Some(runners.parse().ok()?),
                        ["cpus", cpus] => engine.cpus = Some(cpus.parse().ok()?),
                        _ => return None,
                    }
                }
                self.engines.push(engine);
            }
            [
                "pool",
                "engine",
                engine,
                "max",
                max,
                "min-idle",
                min_idle,
                "warm",
                warm,
                rest @ ..,
            ] => {
                let engines = engine.split(',').map(|engine| engine.parse().ok());
                let engines = engines.collect::<Option<Vec<usize>>>()?;
                if engines.iter().any(|engine| *engine >= self.engines.len()) {
                    return None;
                }
                let mut pool = PoolPlan {
                    engines,
                    spread: false,
                    cpus: 0,
                    max: max.parse().ok()?,
                    min_idle: min_idle.parse().ok()?,
                    warm: warm.parse().ok()?,
                    source: Source::ScaleSet,
                    job_timeout: None,
                };
                let mut rest = rest;
                while !rest.is_empty() {
                    rest = match rest {
                        ["fixed", rest @ ..] => {
                            pool.source = Source::Fixed;
                            rest
                        }
                        ["webhook", rest @ ..] => {
                            pool.source = Source::Webhook;
                            rest
                        }
                        ["spread", rest @ ..] => {
                            pool.spread = true;
                            rest
                        }
                        ["cpus", cpus, rest @ ..] => {
                            pool.cpus = cpus.parse().ok()?;
                            rest
                        }
                        ["job-timeout", limit, rest @ ..] => {
                            pool.job_timeout = Some(seconds(limit)?);
                            rest
                        }
                        _ => return None,
                    };
                }
                self.pools.push(pool);
            }
            ["at", at, what @ ..] => {
                let (at, what) = (seconds(at)?, self.what(what)?);
                self.items.push(Item { at, what });
            }
            _ => return None,
        }
        Some(())
    }

    fn pool(&self, word: &str) -> Option<usize> {
        let index = word.strip_prefix('p')?.parse().ok()?;
        self.pools.get(index).map(|_| index)
    }

    fn engine(&self, word: &str) -> Option<usize> {
        let index = word.strip_prefix('e')?.parse().ok()?;
        self.engines.get(index).map(|_| index)
    }

    fn what(&self, words: &[&str]) -> Option<What> {
        Some(match words {
            ["jobs", pool, count, "taking", takes] => What::Jobs {
                pool: self.pool(pool)?,
                count: count.parse().ok()?,
                takes: seconds(takes)?,
            },
            ["cancel", "job", job] => What::Cancel { job: job.parse().ok()?, force: false },
            ["cancel", "job", job, "by", "force"] => {
                What::Cancel { job: job.parse().ok()?, force: true }
            }
            ["rerun", "job", job] => What::Rerun { job: job.parse().ok()? },
            ["call-over", "job", job] => What::CallOver { job: job.parse().ok()? },
            ["github", route, count, fault @ ..] => What::Github {
                route: (*route).to_owned(),
                count: times(count)?,
                fault: github_fault(fault)?,
            },
            ["outage", lasts, how @ ("refusing" | "silent")] => {
                What::Outage { lasts: seconds(lasts)?, answers: *how == "refusing" }
            }
            ["lose", "set", pool] => What::LoseSet { pool: self.pool(pool)? },
            ["lose", "session", pool, how @ ("evicted" | "expired")] => {
                What::LoseSession { pool: self.pool(pool)?, evicted: *how == "evicted" }
            }
            ["lose", "runner", nth, how @ ("busy" | "idle")] => {
                What::LoseRunner { nth: nth.parse().ok()?, busy: *how == "busy" }
            }
            ["foreign", "set", pool, lasts] => {
                What::ForeignSet { pool: self.pool(pool)?, lasts: seconds(lasts)? }
            }
            ["foreign", "session", pool] => {
                What::ForeignSession { pool: self.pool(pool)?, polls: Duration::ZERO }
            }
            ["foreign", "session", pool, "polling", polls] => {
                What::ForeignSession { pool: self.pool(pool)?, polls: seconds(polls)? }
            }
            ["lose", "rows"] => What::LoseRows,
            ["lose", "tokens"] => What::LoseTokens,
            ["engine", engine, call, count, fault @ ..] => What::Engine {
                engine: self.engine(engine)?,
                call: CALLS.iter().find(|(_, word)| word == call)?.0,
                count: u32::try_from(times(count)?).ok()?,
                fault: engine_fault(fault)?,
            },
            ["away", engine, lasts] => {
                What::EngineAway { engine: self.engine(engine)?, lasts: seconds(lasts)? }
            }
            ["wipe", engine] => What::Wipe { engine: self.engine(engine)? },
            ["kill", nth] => What::Kill { nth: nth.parse().ok()? },
            ["watch-breaks", engine] => What::WatchBreaks { engine: self.engine(engine)? },
            ["events-lost", engine, count] => {
                What::EventsLost { engine: self.engine(engine)?, count: count.parse().ok()? }
            }
            ["disk", "full", lasts] => What::DiskFull { lasts: seconds(lasts)? },
            ["crash", "after", points, "down", down, "jump", jump] => What::Crash {
                points: points.parse().ok()?,
                down: seconds(down)?,
                jump_s: jump.parse().ok()?,
            },
            ["restart", "down", down] => What::Restart { down: seconds(down)? },
            ["second"] => What::Second,
            ["drain", pool] => What::Drain { pool: self.pool(pool)? },
            ["undrain", pool] => What::Undrain { pool: self.pool(pool)? },
            ["flush", pool] => What::Flush { pool: self.pool(pool)?, even_busy: false },
            ["flush", pool, "busy"] => What::Flush { pool: self.pool(pool)?, even_busy: true },
            ["delete", pool] => What::DeletePool { pool: self.pool(pool)? },
            ["renew", pool] => What::Renew { pool: self.pool(pool)? },
            ["remove", nth] => What::Remove { nth: nth.parse().ok()?, even_busy: false },
            ["remove", nth, "busy"] => What::Remove { nth: nth.parse().ok()?, even_busy: true },
            _ => return None,
        })
    }
}

fn seconds(word: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(word.strip_suffix('s')?.parse().ok()?).ok()
}

fn times(word: &str) -> Option<u64> {
    word.strip_prefix('x')?.parse().ok()
}

fn github_fault(words: &[&str]) -> Option<GithubFault> {
    Some(match words {
        ["status", status] => GithubFault::Status(status.parse().ok()?),
        ["dropped"] => GithubFault::Dropped,
        ["answer-lost"] => GithubFault::AnswerLost,
        ["late", by] => GithubFault::Late(seconds(by)?),
        ["overtaken", by] => GithubFault::Overtaken(seconds(by)?),
        ["twice"] => GithubFault::Twice,
        ["empty"] => GithubFault::Empty,
        ["primary-limit", wait] => GithubFault::PrimaryLimit(seconds(wait)?),
        ["secondary-limit", wait] => GithubFault::SecondaryLimit(seconds(wait)?),
        ["conflict"] => GithubFault::Conflict,
        ["zero-statistics"] => GithubFault::ZeroStatistics,
        ["stale-statistics"] => GithubFault::StaleStatistics,
        ["reversed"] => GithubFault::Reversed,
        ["stuck", by] => GithubFault::Stuck(seconds(by)?),
        ["lose", kind] => GithubFault::Lose((*kind).to_owned()),
        ["poison"] => GithubFault::Poison,
        ["truncated"] => GithubFault::Truncated,
        ["unsent"] => GithubFault::Unsent,
        ["shuffled", by] => GithubFault::Shuffled(seconds(by)?),
        _ => return None,
    })
}

fn engine_fault(words: &[&str]) -> Option<EngineFault> {
    Some(match words {
        ["later", by] => EngineFault::Later(seconds(by)?),
        ["slow", by] => EngineFault::Slow(seconds(by)?),
        ["boots-after", by] => EngineFault::BootsAfter(seconds(by)?),
        [plain] => PLAIN_FAULTS.iter().find(|(_, word)| word == plain)?.0,
        _ => return None,
    })
}
