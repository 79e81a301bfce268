//! Properties that hold whatever happens: a legal world outside with every fault that it may have, and any outcome at
//! all.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod lab;
mod property;

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    model::{
        BackendName, Budget, Deadlines, DemandSource, InstanceSpec, Limits, Place, Placement,
        PoolName, PoolSpec, ScaleSetSpec, ScopeKind, ScopeName, ScopeSpec, Spec,
    },
    ports::{Capabilities, HandOver},
    report,
};
use jiff::{SignedDuration, Timestamp};
use lab::Lab;
use property::{drive::Run, hostile::Hostile, tape::Tape};
use proptest::prelude::*;

fn scale_set() -> DemandSource {
    DemandSource::ScaleSet(ScaleSetSpec { name: "ci".into(), adopt: false })
}

/// The pool's backends: how many, how one of them is chosen, and how many runners each may have.
#[derive(Debug, Clone, Copy)]
struct Sites {
    count: usize,
    placement: Placement,
    budget: Option<u32>,
}

/// One or two backends, most of them with a budget of `least` runners or a few more.
fn sites(least: u32) -> impl Strategy<Value = Sites> {
    let placement = prop_oneof![Just(Placement::InOrder), Just(Placement::Spread)];
    let budget = prop::option::of(least..least + 3);
    (1_usize..3, placement, budget).prop_map(|(count, placement, budget)| Sites {
        count,
        placement,
        budget,
    })
}

fn lab(limits: Limits, boots_fast: bool, demand: DemandSource, sites: Sites) -> Lab {
    let scope = ScopeName::new("acme").unwrap();
    let names = ["here", "there"].into_iter().take(sites.count);
    let backends: Vec<BackendName> = names.map(|name| BackendName::new(name).unwrap()).collect();
    let place = |backend: &BackendName| Place {
        backend: backend.clone(),
        instance: Arc::new(InstanceSpec { cpu_millis: Some(2_000), ..InstanceSpec::default() }),
        mark: "mark".into(),
    };
    let budgets = backends.iter().filter_map(|name| {
        let runners = sites.budget?;
        // What bounds the processors bounds as many runners.
        let cpu_millis = Some(u64::from(runners) * 2_000 + 1_999);
        Some((name.clone(), Budget { cpu_millis, memory_bytes: None, runners: None }))
    });
    let budgets = budgets.collect();
    let placement = sites.placement;
    let pool = PoolName::new("ci").unwrap();
    let scope_spec = ScopeSpec {
        url: "https://github.example/acme".into(),
        kind: ScopeKind::Organization("acme".into()),
        repositories: Vec::new(),
    };
    let pool_spec = PoolSpec {
        name: pool.clone(),
        scope: scope.clone(),
        labels: Vec::new(),
        group: "Default".into(),
        demand,
        places: backends.iter().map(place).collect(),
        placement,
        priority: 0,
        limits,
        schedules: Vec::new(),
        deadlines: Deadlines::default(),
    };
    let capabilities = Capabilities {
        hand_over: HandOver::Push,
        creates_max: 3,
        ready_in_four_minutes: 4,
        boots_fast,
        names_are_unique: boots_fast,
    };
    let spec = Spec {
        scopes: BTreeMap::from([(scope, scope_spec)]),
        pools: BTreeMap::from([(pool, pool_spec)]),
        budgets,
        ..Spec::default()
    };
    let start: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
    let backends = backends.into_iter().map(|name| (name, capabilities)).collect();
    Lab::new(spec, backends, start)
}

/// Chaos by the tape, then quiet: every job is done, a pool that is kept full is full, and after the pool is deleted nothing
/// is left.
fn check(lab: Lab, limits: Limits, choices: Vec<u16>) -> Result<(), String> {
    let max = usize::try_from(limits.max).unwrap();
    let mut tape = Tape::new(choices);
    let mut run = Run::new(lab, max)?;
    let told = |run: &Run, error: String| format!("{}\n{error}", run.last_words());
    while !tape.is_over() {
        run.step(&mut tape).map_err(|error| told(&run, error))?;
    }
    run.undrain().map_err(|error| told(&run, error))?;
    run.quiet(Run::jobs_are_done).map_err(|error| told(&run, error))?;
    // A budget may have less room than what is to be kept.
    let room: usize = run.outside.most_on.values().sum();
    let kept = usize::try_from(limits.min_idle + limits.warm).unwrap();
    if run.outside.alone && (run.outside.most_on.is_empty() || room >= kept) {
        run.quiet(|run| run.is_full(limits)).map_err(|error| told(&run, error))?;
    }
    run.delete().map_err(|error| told(&run, error))
}

fn config() -> ProptestConfig {
    // A failure becomes a script; nothing is written by itself.
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_any_chaos_every_job_runs_and_nothing_is_left(
        choices in prop::collection::vec(any::<u16>(), 1..1_200),
        (warm, min_idle, max) in (0_u32..3, 0_u32..2, 1_u32..5),
        boots_fast in any::<bool>(),
        sites in sites(1),
    ) {
        let limits = Limits { warm, min_idle, max: max.max(min_idle) };
        if let Err(error) = check(lab(limits, boots_fast, scale_set(), sites), limits, choices) {
            prop_assert!(false, "{error}");
        }
    }

    #[test]
    fn after_any_chaos_a_pool_that_is_kept_full_is_full(
        choices in prop::collection::vec(any::<u16>(), 1..1_200),
        (warm, min_idle, max) in (0_u32..3, 1_u32..5, 1_u32..7),
        boots_fast in any::<bool>(),
        sites in sites(7),
    ) {
        let limits = Limits { warm, min_idle, max: max.max(min_idle) };
        let lab = lab(limits, boots_fast, DemandSource::Fixed, sites);
        if let Err(error) = check(lab, limits, choices) {
            prop_assert!(false, "{error}");
        }
    }

    #[test]
    fn after_any_chaos_a_pool_that_hears_webhooks_ran_every_job(
        choices in prop::collection::vec(any::<u16>(), 1..1_200),
        (warm, min_idle, max) in (0_u32..3, 0_u32..2, 1_u32..5),
        boots_fast in any::<bool>(),
        sites in sites(1),
    ) {
        let limits = Limits { warm, min_idle, max: max.max(min_idle) };
        let lab = lab(limits, boots_fast, DemandSource::Webhook, sites);
        if let Err(error) = check(lab, limits, choices) {
            prop_assert!(false, "{error}");
        }
    }

    #[test]
    fn no_outcome_makes_the_world_panic_or_break_its_rules(
        choices in prop::collection::vec(any::<u16>(), 1..800),
        boots_fast in any::<bool>(),
        source in 0_usize..3,
        sites in sites(1),
    ) {
        let demand = [DemandSource::Fixed, DemandSource::Webhook, scale_set()][source].clone();
        let limits = Limits { warm: 1, min_idle: 1, max: 3 };
        let mut lab = lab(limits, boots_fast, demand, sites);
        let mut tape = Tape::new(choices);
        let mut told = Vec::new();
        while !tape.is_over() {
            if tape.chance(5) {
                lab.crash();
            } else if tape.chance(10) {
                let seconds = i64::try_from(tape.pick(7_200)).unwrap();
                lab.now += SignedDuration::from_secs(seconds);
            } else {
                let outcome = Hostile { lab: &lab, tape: &mut tape }.outcome();
                told.push(format!("{outcome:?}"));
                lab.apply(outcome);
            }
            if let Err(error) = lab.pass() {
                prop_assert!(false, "{}\n{error}", told.join("\n"));
            }
            let _ = report::status(&lab.world, &lab.spec, lab.now);
            let _ = report::plan_view(&lab.world, &lab.spec, lab.now);
            let _ = report::explain(&lab.world, &lab.spec, "ci", lab.now);
            let _ = report::explain(&lab.world, &lab.spec, "1", lab.now);
            let _ = report::jobs(&lab.world, &lab.spec, lab.now);
            let _ = report::runners(&lab.world, &lab.spec, lab.now);
        }
    }
}
