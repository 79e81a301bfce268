//! What every store does, whatever it stands on.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{Runner, RunnerName, ScopeState, TrackedJob},
    ports::{Batch, Store, StoreErrorKind, Stored},
};
use dayfly_store::{Counts, Sqlite};
use proptest::prelude::*;

use crate::rows::{
    ODD, at, controller, everything, full_pool, full_runner, job, job_key, pool, pool_name, runner,
    runner_name, runners, scope_name, tracked, trouble, trouble_keys,
};

/// The contract: `store` is new, with the id of [`controller`].
fn contract(store: &mut dyn Store) {
    let empty = Stored {
        controller: controller(),
        clock: None,
        runners: vec![],
        pools: vec![],
        jobs: vec![],
        workflow_jobs: vec![],
        scopes: vec![],
        troubles: vec![],
    };
    assert_eq!(store.load().unwrap(), empty);
    store.commit(&Batch::default()).unwrap();
    assert_eq!(store.load().unwrap(), empty);

    what_is_stored_is_loaded(store);
    a_wrong_generation_stores_nothing(store);
    what_is_deleted_is_gone(store);

    store.commit(&Batch { clock: Some(at(99)), ..Batch::default() }).unwrap();
    assert_eq!(store.load().unwrap(), Stored { clock: Some(at(99)), ..empty });
}

fn what_is_stored_is_loaded(store: &mut dyn Store) {
    store.commit(&everything()).unwrap();
    let stored = store.load().unwrap();
    assert_eq!(stored.clock, Some(at(10)));
    let mut names = [runner(1), runner(2)];
    names.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(stored.runners, names);
    assert_eq!(stored.pools, [full_pool(1)]);
    assert_eq!(stored.jobs, ["a", ODD].map(|id| (pool_name(), job(id))));
    assert_eq!(stored.workflow_jobs, [tracked(7, 1), tracked(7, 2), tracked(i64::MAX, u32::MAX)]);
    assert_eq!(stored.scopes, [(scope_name(), ScopeState { cursor: Some(i64::MAX) })]);
    let mut troubles = stored.troubles;
    troubles.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected: Vec<_> = trouble_keys().into_iter().map(|key| (key, trouble())).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(troubles, expected);

    let mut changed = job("a");
    changed.assignments = 4;
    let batch = Batch {
        runners: [(runner_name(1), Some(full_runner(1)))].into(),
        pools: [(pool_name(), Some(pool(2)))].into(),
        jobs: [(job_key("a"), Some(changed.clone()))].into(),
        workflow_jobs: [(tracked(7, 2).job.id, Some(TrackedJob { since: at(6), ..tracked(7, 2) }))]
            .into(),
        scopes: [(scope_name(), Some(ScopeState { cursor: Some(-1) }))].into(),
        ..Batch::default()
    };
    store.commit(&batch).unwrap();
    let stored = store.load().unwrap();
    assert!(stored.runners.contains(&full_runner(1)));
    assert_eq!(stored.pools, [pool(2)]);
    assert!(stored.jobs.contains(&(pool_name(), changed)));
    assert_eq!(stored.workflow_jobs[1].since, at(6));
    assert_eq!(stored.scopes, [(scope_name(), ScopeState { cursor: Some(-1) })]);
    assert_eq!(stored.clock, Some(at(10)), "a batch without a clock leaves it");
}

fn a_wrong_generation_stores_nothing(store: &mut dyn Store) {
    let before = store.load().unwrap();
    let mut check = |what: &str, mut batch: Batch, row: &str| {
        // Rows on both sides of the bad one, in the order in which they are written.
        batch.clock = Some(at(1_000));
        batch.runners.insert(runner_name(0), Some(runner(0)));
        batch.jobs.insert(job_key("z"), Some(job("z")));
        batch.jobs.insert(job_key("a"), None);
        let error = store.commit(&batch).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Generation, "{what}: {error}");
        assert!(error.detail.contains(row), "{what}: {error}");
        assert_eq!(store.load().unwrap(), before, "{what}");
    };
    let with = |number, generation| {
        runners([(runner_name(number), Some(Runner { generation, ..runner(number) }))])
    };
    // Runner 1 is of generation 2, runner 3 is not there; the pool is of generation 2.
    let name = runner_name(1);
    check("a new row that exists", with(1, 1), name.as_str());
    check("the same generation again", with(1, 2), name.as_str());
    check("a generation left out", with(1, 4), name.as_str());
    check("no generation", with(1, 0), name.as_str());
    check("a generation beyond SQL's", with(1, u64::MAX), name.as_str());
    check("a changed row that is not there", with(3, 2), runner_name(3).as_str());
    check(
        "a row under another's key",
        runners([(runner_name(3), Some(runner(4)))]),
        runner_name(4).as_str(),
    );
    let with = |generation| Batch {
        pools: [(pool_name(), Some(pool(generation)))].into(),
        ..Batch::default()
    };
    for generation in [0, 1, 2, 4, u64::MAX] {
        check("a pool's generation", with(generation), "linux-small");
    }
}

fn what_is_deleted_is_gone(store: &mut dyn Store) {
    // A row that is gone is made anew with generation 1.
    store.commit(&runners([(runner_name(1), None)])).unwrap();
    store.commit(&runners([(runner_name(1), Some(runner(1)))])).unwrap();
    let batch = Batch {
        // The last was never there: a row that came and went between two commits.
        runners: [1, 2, 3].map(|number| (runner_name(number), None)).into(),
        pools: [(pool_name(), None)].into(),
        jobs: ["a", ODD, "never"].map(|id| (job_key(id), None)).into(),
        workflow_jobs: [tracked(7, 1), tracked(7, 2), tracked(i64::MAX, u32::MAX), tracked(8, 1)]
            .map(|row| (row.job.id, None))
            .into(),
        scopes: [(scope_name(), None)].into(),
        troubles: trouble_keys().into_iter().map(|key| (key, None)).collect(),
        clock: None,
    };
    store.commit(&batch).unwrap();
}

#[test]
fn a_file_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.db");
    contract(&mut Sqlite::open(&path, controller()).unwrap());
    // And what the last life stored is there in the next.
    let mut store = Sqlite::open(&path, controller()).unwrap();
    assert_eq!(store.load().unwrap().clock, Some(at(99)));
    store.commit(&everything()).unwrap();
    let stored = store.load().unwrap();
    drop(store);
    assert_eq!(Sqlite::open(&path, controller()).unwrap().load().unwrap(), stored);
}

#[test]
fn memory_keeps_the_contract() {
    contract(&mut Sqlite::in_memory(controller()).unwrap());
}

#[test]
fn a_thousand_rows_fit_in_a_commit() {
    let mut store = Sqlite::in_memory(controller()).unwrap();
    let batch = runners((0..1_000).map(|number| (runner_name(number), Some(runner(number)))));
    store.commit(&batch).unwrap();
    let stored: BTreeMap<_, _> = store
        .load()
        .unwrap()
        .runners
        .into_iter()
        .map(|runner| (runner.name.clone(), Some(runner)))
        .collect();
    assert_eq!(stored, batch.runners);
}

#[test]
fn counts_tell_what_is_left() {
    let mut store = Sqlite::in_memory(controller()).unwrap();
    let mut check = |batch: Batch, runners_not_gone, open_duties| {
        store.commit(&batch).unwrap();
        assert_eq!(store.counts().unwrap(), Counts { runners_not_gone, open_duties });
    };
    check(Batch::default(), 0, 0);
    check(everything(), 2, 1);
    check(runners([(runner_name(1), None)]), 1, 1);
    check(Batch { pools: [(pool_name(), Some(pool(2)))].into(), ..Batch::default() }, 1, 0);
}

/// For each of a few runners: nothing, a deletion, or a row of some generation.
fn changes() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    proptest::collection::vec((0..4_u64, proptest::option::of(0..5_u64)), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against a map that follows the rule in the simplest way.
    #[test]
    fn any_commits_end_as_in_a_map(commits in proptest::collection::vec(changes(), 0..20)) {
        let mut store = Sqlite::in_memory(controller()).unwrap();
        let mut model: BTreeMap<RunnerName, Runner> = BTreeMap::new();
        for changes in commits {
            let batch = runners(changes.into_iter().map(|(number, generation)| {
                (runner_name(number), generation.map(|generation| Runner { generation, ..runner(number) }))
            }));
            let allowed = batch.runners.iter().all(|(name, change)| change.as_ref().is_none_or(|runner| {
                runner.generation == model.get(name).map_or(0, |known| known.generation) + 1
            }));
            prop_assert_eq!(store.commit(&batch).is_ok(), allowed);
            if allowed {
                for (name, change) in batch.runners {
                    match change {
                        Some(runner) => model.insert(name, runner),
                        None => model.remove(&name),
                    };
                }
            }
            prop_assert_eq!(store.load().unwrap().runners, model.values().cloned().collect::<Vec<_>>());
        }
    }
}
