//! From a seed to a scenario.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    dials::{Dial, Dials},
    scenario::{
        ALL_ENTRIES, EngineCall, EngineFault, EnginePlan, GithubFault, GithubPlan, Item, PoolPlan,
        Scenario, Source, What,
    },
};

/// Makes the scenario of a seed.
#[must_use]
pub fn generate(seed: u64, jobs: usize, dials: &Dials) -> Scenario {
    // Neighbouring seeds have nothing in common.
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x0064_6179_666c_7900);
    let rng = &mut rng;
    let mut engines: Vec<_> = (0..rng.usize(1..=2)).map(|_| engine(rng)).collect();
    let pools: Vec<_> = (0..rng.usize(1..=3)).map(|_| pool(rng, engines.len(), jobs)).collect();
    // Drawn by themselves, so that what else a seed holds does not hang on them.
    let kept = &mut Rng::with_seed(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x006b_6570_7400);
    let pools: Vec<_> = pools.into_iter().map(|pool| maybe_kept_full(kept, pool)).collect();
    let heard = &mut Rng::with_seed(seed.wrapping_mul(0xA076_1D64_78BD_642F) ^ 0x686f_6f6b_7300);
    let pools: Vec<_> = pools.into_iter().map(|pool| maybe_heard_by_webhook(heard, pool)).collect();
    let spots = &mut Rng::with_seed(seed.wrapping_mul(0xC2B2_AE3D_27D4_EB4F) ^ 0x0073_706f_7473);
    let pools: Vec<_> =
        pools.into_iter().map(|pool| maybe_on_several(spots, pool, engines.len())).collect();
    // An engine has room for what its pools keep idle, and for a few jobs beside.
    for pool in &pools {
        for engine in &pool.engines {
            engines[*engine].room += pool.min_idle + pool.warm + 2;
        }
    }
    for (index, engine) in engines.iter_mut().enumerate() {
        maybe_with_budget(spots, engine, pools.iter().filter(|pool| pool.engines.contains(&index)));
    }
    let tick = pick(rng, &[50, 250, 500, 1_000]);
    let scenario = Scenario {
        seed,
        github: github(rng),
        tick: Duration::from_millis(tick),
        latency: Duration::from_millis(tick * pick(rng, &[1, 1, 2, 4])),
        sync: Duration::from_millis(pick(rng, &[0, 0, 0, 10, 100, 2_000])),
        items: Vec::new(),
        pools,
        engines,
    };
    let mut items = items(rng, &scenario, jobs, dials);
    if scenario.pools.iter().any(|pool| pool.source != Source::ScaleSet) {
        for item in &mut items {
            if let What::Github { route, .. } = &mut item.what
                && route == "sets.jitconfig"
                && kept.bool()
            {
                "runners.jitconfig".clone_into(route);
            }
        }
    }
    for item in &mut items {
        if let What::Remove { even_busy, .. } = item.what
            && kept.u8(..3) == 0
        {
            let pool = kept.usize(..scenario.pools.len());
            item.what = What::Flush { pool, even_busy };
        }
    }
    if scenario.pools.iter().any(|pool| pool.source == Source::Webhook) {
        webhook_troubles(heard, jobs, &mut items);
    }
    Scenario { items, ..scenario }
}

/// One in three of the others hears webhooks.
fn maybe_heard_by_webhook(rng: &mut Rng, pool: PoolPlan) -> PoolPlan {
    if pool.source != Source::ScaleSet || rng.u8(..3) != 0 {
        return pool;
    }
    PoolPlan { source: Source::Webhook, ..pool }
}

/// Where there is trouble at all, deliveries are lost, doubled, late, out of order and badly answered, and what makes them good fails.
fn webhook_troubles(rng: &mut Rng, jobs: usize, items: &mut Vec<Item>) {
    let last = items.last().map_or(Duration::ZERO, |item| item.at);
    if items.iter().all(|item| matches!(item.what, What::Jobs { .. })) || last.is_zero() {
        return;
    }
    for _ in 0..rng.usize(1..=4 + jobs / 10) {
        let fault = match rng.u8(..7) {
            0 | 1 => GithubFault::Unsent,
            2 => GithubFault::Twice,
            3 => GithubFault::Overtaken(seconds(rng, 1, 900)),
            4 => GithubFault::Shuffled(seconds(rng, 5, 120)),
            5 => GithubFault::Dropped,
            _ => GithubFault::AnswerLost,
        };
        let (route, fault) = match rng.u8(..8) {
            0 => {
                let routes =
                    ["runs.list", "runs.jobs", "jobs.get", "repos.list", "hooks.deliveries"];
                (pick(rng, &routes), GithubFault::Status(pick(rng, &[500, 502, 503])))
            }
            1 => ("hooks.redeliver", fault),
            _ => ("hooks.deliver", fault),
        };
        let what = What::Github { route: route.to_owned(), count: rng.u64(1..=8), fault };
        items.push(Item { at: moment(rng, last), what });
    }
    items.sort_by_key(|item| item.at);
}

/// Where there are two engines, half of the pools have both; half of the pools say how many processors an instance takes.
fn maybe_on_several(rng: &mut Rng, pool: PoolPlan, engines: usize) -> PoolPlan {
    let cpus = if rng.bool() { rng.u32(1..=3) } else { 0 };
    let (both, spread) = (rng.bool() && engines > 1, rng.bool());
    if !both {
        return PoolPlan { cpus, ..pool };
    }
    let first = pool.engines.first().copied().unwrap_or(0);
    PoolPlan { engines: vec![first, 1 - first], spread, cpus, ..pool }
}

/// Every other engine has a budget, which holds what its pools keep idle and some jobs beside: a few, or enough for most. One in
/// six has one that holds registered idle runners and some jobs, whatever stock its pools would keep.
fn maybe_with_budget<'a>(
    rng: &mut Rng,
    engine: &mut EnginePlan,
    pools: impl Iterator<Item = &'a PoolPlan>,
) {
    let (kind, beside) = (rng.u8(..6), pick(rng, &[1, 3, 10, 40]));
    let (mut registered, mut runners, mut cpus, mut largest) = (0, 0, 0, 0);
    for pool in pools {
        registered += pool.min_idle;
        runners += pool.min_idle + pool.warm;
        cpus += (pool.min_idle + pool.warm) * pool.cpus;
        largest = largest.max(pool.cpus);
    }
    if matches!(kind, 0 | 2) {
        engine.runners = Some(runners + beside);
    }
    if kind == 3 {
        engine.runners = Some(registered + beside);
    }
    if matches!(kind, 1 | 2) && largest > 0 {
        engine.cpus = Some(cpus + largest * beside + rng.u32(..largest));
    }
}

/// One pool in four is kept full: as often with a fixed total as with room for more.
fn maybe_kept_full(rng: &mut Rng, pool: PoolPlan) -> PoolPlan {
    if rng.u8(..4) != 0 {
        return pool;
    }
    let min_idle = rng.u32(1..=5).min(pool.max);
    let max = if rng.bool() { min_idle } else { pool.max };
    PoolPlan { min_idle, max, source: Source::Fixed, ..pool }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

fn seconds(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_secs(rng.u64(from..=to))
}

fn engine(rng: &mut Rng) -> EnginePlan {
    let fast = rng.bool();
    EnginePlan {
        boot: if fast { seconds(rng, 1, 15) } else { seconds(rng, 30, 100) },
        creates: pick(rng, &[2, 8, 32]),
        room: if rng.u8(..10) == 0 { pick(rng, &[4, 20]) } else { 1_000 },
        fast,
        runners: None,
        cpus: None,
    }
}

fn pool(rng: &mut Rng, engines: usize, jobs: usize) -> PoolPlan {
    let large = (jobs / 2).clamp(4, 200) as u32;
    let max = pick(rng, &[2, 5, large, large]);
    PoolPlan {
        engines: vec![rng.usize(..engines)],
        spread: false,
        cpus: 0,
        max,
        min_idle: if rng.u8(..3) == 0 { rng.u32(1..=2) } else { 0 },
        warm: if rng.u8(..2) == 0 { rng.u32(1..=3) } else { 0 },
        source: Source::ScaleSet,
        job_timeout: (rng.u8(..4) == 0).then(|| seconds(rng, 300, 900)),
    }
}

fn github(rng: &mut Rng) -> GithubPlan {
    GithubPlan {
        acquire: rng.u8(..3) == 0,
        idle_removal: (rng.u8(..3) == 0).then(|| seconds(rng, 120, 360)),
        jit_life: if rng.u8(..3) == 0 { seconds(rng, 60, 300) } else { Duration::from_secs(3_600) },
        admin_life: Duration::from_secs(pick(rng, &[300, 1_020, 3_600])),
        queue_life: Duration::from_secs(pick(rng, &[240, 1_500, 3_000])),
        // Signing is slow, and a few lives as an App show as much as many.
        app_life: (rng.u8(..8) == 0)
            .then(|| Duration::from_secs(pick(rng, &[420, 1_020, 3_600, 3_600]))),
        others: 0,
        writes: None,
    }
}

/// Jobs come in bursts, trouble at any time among them.
fn items(rng: &mut Rng, scenario: &Scenario, jobs: usize, dials: &Dials) -> Vec<Item> {
    let mut items = Vec::new();
    let mut queued = 0;
    let span = seconds(rng, 600, 600 + (jobs as u64) * 20).min(Duration::from_secs(3 * 3_600));
    while queued < jobs {
        let most = if rng.bool() { jobs / 2 } else { jobs / 10 };
        let count = rng.usize(1..=most.clamp(1, 100)).min(jobs - queued);
        queued += count;
        let pool = rng.usize(..scenario.pools.len());
        let takes = if rng.u8(..20) == 0 { seconds(rng, 600, 1_500) } else { seconds(rng, 1, 120) };
        // Within the user's limit: what exceeds it is a trouble.
        let limit = scenario.pools[pool].job_timeout.unwrap_or(Duration::MAX);
        let takes = takes.min(limit.saturating_sub(Duration::from_secs(60)));
        let what = What::Jobs { pool, count, takes };
        items.push(Item { at: moment(rng, span), what });
    }
    // A quiet seed now and then shows that the promises are kept for no other reason than trouble.
    let troubles = if rng.u8(..16) == 0 { 0 } else { rng.usize(1..=6 + jobs / 6) };
    for _ in 0..troubles {
        if let Some(dial) = dials.draw(rng) {
            let at = moment(rng, span);
            trouble(rng, scenario, dial, jobs, at, &mut items);
        }
    }
    items.sort_by_key(|item| item.at);
    items
}

fn moment(rng: &mut Rng, span: Duration) -> Duration {
    Duration::from_millis(rng.u64(..span.as_millis() as u64))
}

fn trouble(
    rng: &mut Rng,
    scenario: &Scenario,
    dial: Dial,
    jobs: usize,
    at: Duration,
    items: &mut Vec<Item>,
) {
    let pool = rng.usize(..scenario.pools.len());
    let engine = rng.usize(..scenario.engines.len());
    let job = rng.usize(..jobs.max(1));
    let mut put = |what| items.push(Item { at, what });
    match dial {
        Dial::Crash => put(What::Crash {
            points: rng.u64(0..60),
            down: if rng.u8(..8) == 0 { seconds(rng, 300, 3_000) } else { seconds(rng, 0, 40) },
            jump_s: if rng.u8(..6) == 0 { rng.i64(-7_200..7_200) } else { 0 },
        }),
        Dial::Restart => put(What::Restart { down: seconds(rng, 0, 120) }),
        Dial::Second => put(What::Second),
        Dial::Rows => put(What::LoseRows),
        Dial::GithubErrors => {
            let status = pick(rng, &[500, 502, 503, 504]);
            put(github_fault(rng, GithubFault::Status(status), 12));
        }
        Dial::GithubLost => {
            let fault = match rng.u8(..4) {
                0 => GithubFault::Dropped,
                1 => GithubFault::Empty,
                2 => GithubFault::Truncated,
                _ => GithubFault::AnswerLost,
            };
            put(github_fault(rng, fault, 6));
        }
        Dial::GithubLate => {
            let by = seconds(rng, 1, 75);
            let fault = match rng.u8(..3) {
                0 => GithubFault::Late(by),
                1 => GithubFault::Overtaken(by),
                _ => GithubFault::Twice,
            };
            put(github_fault(rng, fault, 5));
        }
        Dial::GithubTokens => {
            if rng.bool() {
                put(What::LoseTokens);
            } else {
                put(github_fault(rng, GithubFault::Status(401), 4));
            }
        }
        Dial::GithubLimits => {
            let fault = if rng.bool() {
                GithubFault::PrimaryLimit(seconds(rng, 30, 1_800))
            } else {
                GithubFault::SecondaryLimit(seconds(rng, 10, 300))
            };
            let route = pick(rng, &["runners.list", "runners.*", "registration"]).to_owned();
            put(What::Github { route, count: rng.u64(1..=3), fault });
        }
        Dial::GithubSessions => match rng.u8(..3) {
            0 => put(What::Github {
                route: "sessions.create".to_owned(),
                count: rng.u64(1..=4),
                fault: GithubFault::Conflict,
            }),
            other => put(What::LoseSession { pool, evicted: other == 1 }),
        },
        Dial::GithubMessages => {
            let kinds = ["JobAssigned", "JobStarted", "JobCompleted", "JobAvailable"];
            let kinds = [&kinds[..], &[ALL_ENTRIES; 4]].concat();
            let fault = match rng.u8(..8) {
                0 => GithubFault::ZeroStatistics,
                3 | 4 => GithubFault::StaleStatistics,
                5 => GithubFault::Reversed,
                1 => GithubFault::Stuck(seconds(rng, 10, 80)),
                2 => GithubFault::Poison,
                _ => GithubFault::Lose(pick(rng, &kinds).to_owned()),
            };
            put(What::Github { route: "messages.get".to_owned(), count: rng.u64(1..=6), fault });
        }
        Dial::GithubSets => put(What::LoseSet { pool }),
        Dial::Foreign => put(if rng.bool() {
            What::ForeignSet { pool, lasts: seconds(rng, 5, 900) }
        } else {
            What::ForeignSession { pool, polls: Duration::ZERO }
        }),
        Dial::ForeignPolls => {
            put(What::ForeignSession { pool, polls: seconds(rng, 20, 900) });
        }
        Dial::GithubApp => {
            let fault = match rng.u8(..4) {
                0 => GithubFault::Status(401),
                1 => GithubFault::Status(pick(rng, &[500, 502, 503])),
                2 => GithubFault::AnswerLost,
                _ => GithubFault::SecondaryLimit(seconds(rng, 10, 120)),
            };
            let route = pick(rng, &["app.*", "app.access_token", "scope.installation"]).to_owned();
            put(What::Github { route, count: rng.u64(1..=4), fault });
            // The token that it has is good for an hour: it is only asked again without it.
            put(What::LoseTokens);
        }
        Dial::GithubRunners => put(What::LoseRunner { nth: rng.usize(..100), busy: rng.bool() }),
        Dial::GithubOutage => {
            let lasts =
                if rng.u8(..4) == 0 { seconds(rng, 1_800, 7_200) } else { seconds(rng, 20, 900) };
            put(What::Outage { lasts, answers: rng.bool() });
        }
        Dial::GithubCalledOver => put(What::CallOver { job }),
        Dial::UserJobs => {
            if rng.u8(..3) == 0 {
                put(What::Rerun { job });
            } else {
                put(What::Cancel { job, force: rng.u8(..4) == 0 });
            }
        }
        Dial::UserLongJobs => {
            if let Some(limit) = scenario.pools[pool].job_timeout {
                let takes = limit + seconds(rng, 60, 2_400);
                put(What::Jobs { pool, count: rng.usize(1..=2), takes });
            }
        }
        Dial::UserRunners => match rng.u8(..3) {
            0 => {
                put(What::Drain { pool });
                let at = at + seconds(rng, 5, 600);
                items.push(Item { at, what: What::Undrain { pool } });
            }
            other => put(What::Remove { nth: rng.usize(..100), even_busy: other == 1 }),
        },
        Dial::UserPools => {
            put(What::DeletePool { pool });
            let at = at + seconds(rng, 5, 1_200);
            items.push(Item { at, what: What::Undrain { pool } });
        }
        Dial::UserImages => put(What::Renew { pool }),
        Dial::EngineRefuses => {
            let fault = pick(
                rng,
                &[
                    EngineFault::NoCapacity,
                    EngineFault::Quota,
                    EngineFault::ImageMissing,
                    EngineFault::Transient,
                ],
            );
            let count = rng.u32(1..=12);
            put(What::Engine { engine, call: EngineCall::Create, count, fault });
        }
        Dial::EngineLost => {
            let fault = pick(
                rng,
                &[
                    EngineFault::Hangs,
                    EngineFault::HangsDone,
                    EngineFault::AnswerLost,
                    EngineFault::Transient,
                    EngineFault::Slow(Duration::from_secs(20)),
                ],
            );
            let call = pick(
                rng,
                &[
                    EngineCall::Create,
                    EngineCall::Inspect,
                    EngineCall::HandOver,
                    EngineCall::Destroy,
                    EngineCall::List,
                ],
            );
            put(What::Engine { engine, call, count: rng.u32(1..=3), fault });
        }
        Dial::EngineTwice => {
            let fault = if rng.bool() {
                EngineFault::Twice
            } else {
                EngineFault::Later(seconds(rng, 10, 900))
            };
            let count = rng.u32(1..=3);
            put(What::Engine { engine, call: EngineCall::Create, count, fault });
        }
        Dial::EngineBoots => {
            let fault = if rng.bool() {
                EngineFault::NeverBoots
            } else {
                EngineFault::BootsAfter(seconds(rng, 100, 600))
            };
            let count = rng.u32(1..=4);
            put(What::Engine { engine, call: EngineCall::Create, count, fault });
        }
        Dial::EngineDies => put(What::Kill { nth: rng.usize(..100) }),
        Dial::EngineKeeps => {
            let fault = if rng.bool() {
                EngineFault::Transient
            } else {
                EngineFault::Slow(seconds(rng, 5, 50))
            };
            let count = rng.u32(1..=20);
            put(What::Engine { engine, call: EngineCall::Destroy, count, fault });
        }
        Dial::EngineLists => {
            let fault = pick(rng, &[EngineFault::Stale, EngineFault::Partial]);
            let count = rng.u32(1..=4);
            put(What::Engine { engine, call: EngineCall::List, count, fault });
            put(What::WatchBreaks { engine });
        }
        Dial::EngineEvents => {
            if rng.u8(..3) == 0 {
                put(What::WatchBreaks { engine });
            } else {
                put(What::EventsLost { engine, count: rng.u32(1..=6) });
            }
        }
        Dial::EngineAway => {
            if rng.u8(..3) == 0 {
                put(What::Wipe { engine });
            } else {
                put(What::EngineAway { engine, lasts: seconds(rng, 5, 1_200) });
            }
        }
        Dial::Disk => {
            put(What::DiskFull { lasts: seconds(rng, 1, 300) });
        }
    }
}

fn github_fault(rng: &mut Rng, fault: GithubFault, most: u64) -> What {
    let route = pick(
        rng,
        &[
            "*",
            "messages.get",
            "messages.delete",
            "sessions.create",
            "sessions.refresh",
            "sessions.delete",
            "sessions.*",
            "sets.create",
            "sets.jitconfig",
            "sets.jitconfig",
            "agents.delete",
            "agents.*",
            "runners.list",
            "registration",
            "runners.registration_token",
            "jobs.acquire",
        ],
    );
    What::Github { route: route.to_owned(), count: rng.u64(1..=most), fault }
}
