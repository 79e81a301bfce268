//! A store made anew of what engines and GitHub show, after the old one was lost.
//!
//! The same rules hold as for what a list shows and the store does not know: what bears our tag becomes an orphan, whose
//! registration is in doubt, so that GitHub is asked before anything of it is removed and a busy one is left to its job.
//! A scale set is taken for ours only where a runner of ours shows that its pool was served.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    model::{
        BackendName, ControllerId, Instance, PoolName, PoolState, Registration, Runner, RunnerName,
        ScaleSetTrack, ScopeName, Spec,
    },
    ports::{Batch, InstanceRecord, InstanceStatus, RunnerRecord, ScaleSetRecord},
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose store it was.
    pub controller: ControllerId,
    /// Every instance that bears the controller's tag, with its backend.
    pub instances: Vec<(BackendName, InstanceRecord)>,
    /// Every registration of the scopes, whosever it is.
    pub registrations: Vec<(ScopeName, RunnerRecord)>,
    /// The scale sets that stand under the names that the pools give, by pool.
    pub sets: BTreeMap<PoolName, ScaleSetRecord>,
}

/// What comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The rows of the new store.
    pub batch: Batch,
    /// What is left alone or needs a hand, and why.
    pub notes: Vec<String>,
}

/// The rows for what was found.
#[must_use]
pub fn rebuild(found: &Found, spec: &Spec, now: Timestamp) -> Rebuilt {
    let mut notes = Vec::new();
    let mut rows = of_instances(found, now, &mut notes);
    of_registrations(found, spec, now, &mut rows, &mut notes);
    let served: BTreeSet<PoolName> = rows.keys().map(RunnerName::pool).collect();
    let pools = of_sets(found, spec, &served, &mut notes);
    for pool in served.iter().filter(|pool| !spec.pools.contains_key(*pool)) {
        notes.push(format!(
            "pool {pool} is not in the configuration: its runners are removed, and its scale set, if it has one, is not \
             looked for; to have that taken up too, put the pool back and rebuild again"
        ));
    }
    let first = |row: Runner| Some(Runner { generation: 1, ..row });
    let runners = rows.into_iter().map(|(name, row)| (name, first(row))).collect();
    Rebuilt { batch: Batch { runners, pools, clock: Some(now), ..Batch::default() }, notes }
}

fn of_instances(
    found: &Found,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> BTreeMap<RunnerName, Runner> {
    let mut rows: BTreeMap<RunnerName, Runner> = BTreeMap::new();
    for (backend, record) in &found.instances {
        let name = &record.runner;
        if !name.is_of(found.controller) {
            notes.push(format!(
                "instance {name} on {backend} bears the controller's tag and another's name: left alone"
            ));
            continue;
        }
        let instance = match &record.status {
            InstanceStatus::Away => {
                notes.push(format!(
                    "instance {name} on {backend} can't be reached now: whose it is is seen once it can"
                ));
                continue;
            }
            InstanceStatus::Ended(exit) => Instance::Ended { since: now, exit: exit.clone() },
            _ => Instance::Spent { since: now, id: record.id.clone() },
        };
        match rows.get(name) {
            Some(row) if row.backend != *backend => notes.push(format!(
                "instance {name} is on {} and on {backend}: the latter is shown by the daemon, and left",
                row.backend
            )),
            // An engine's double goes with the one that lives: engines destroy by name.
            Some(row) if row.instance.may_live() || !instance.may_live() => {}
            _ => {
                let row = Runner::orphan(name.clone(), backend.clone(), instance, now);
                rows.insert(name.clone(), row);
            }
        }
    }
    rows
}

fn of_registrations(
    found: &Found,
    spec: &Spec,
    now: Timestamp,
    rows: &mut BTreeMap<RunnerName, Runner>,
    notes: &mut Vec<String>,
) {
    for (scope, record) in &found.registrations {
        let Some(name) =
            RunnerName::new(&record.name).ok().filter(|name| name.is_of(found.controller))
        else {
            continue;
        };
        let in_doubt = Registration::InDoubt { since: now, id: Some(record.id) };
        if let Some(row) = rows.get_mut(&name) {
            row.registration = in_doubt;
            continue;
        }
        let pool = spec.pools.get(&name.pool());
        if pool.is_some_and(|pool| pool.scope != *scope) {
            notes.push(format!(
                "registration {name} is in scope {scope}, where its pool is not any more: left alone"
            ));
            continue;
        }
        // It has no instance: which backend the row names decides nothing.
        let any = || spec.pools.values().next();
        let place = pool.or_else(any).and_then(|pool| pool.places.first());
        let Some(backend) = place.map(|place| place.backend.clone()) else { continue };
        let mut row =
            Runner::orphan(name.clone(), backend, Instance::Gone { since: now, ended: false }, now);
        row.registration = in_doubt;
        rows.insert(name, row);
    }
}

fn of_sets(
    found: &Found,
    spec: &Spec,
    served: &BTreeSet<PoolName>,
    notes: &mut Vec<String>,
) -> BTreeMap<PoolName, Option<PoolState>> {
    let mut pools = BTreeMap::new();
    for (pool, record) in &found.sets {
        let Some(of) = spec.pools.get(pool) else { continue };
        if served.contains(pool) {
            let scale_set = ScaleSetTrack::Present {
                id: record.id,
                group: record.group,
                group_name: None,
                scope: of.scope.clone(),
                name: record.name.clone(),
                labels: record.labels.clone(),
                made: true,
            };
            let state = PoolState { generation: 1, scale_set, ..PoolState::new(pool.clone()) };
            pools.insert(pool.clone(), Some(state));
        } else {
            let rest = if of.scale_set().is_some_and(|set| set.adopt) {
                "the daemon takes it over if it has no runners, as the pool's `adopt: true` says"
            } else {
                "if it is yours, `adopt: true` in the pool lets the daemon take it over while it has no runners"
            };
            notes.push(format!(
                "scale set `{}` of pool {pool} exists, and no runner shows that this controller made it: left alone; {rest}",
                record.name
            ));
        }
    }
    pools
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::{
        Deadlines, DemandSource, Exit, InstanceId, InstanceSpec, Limits, Place, Placement,
        PoolSpec, RegistrationId, RunnerGroupId, ScaleSetId, ScaleSetSpec, ScopeKind, ScopeSpec,
        Suffix,
    };

    const CONTROLLER: ControllerId = ControllerId(Uuid::from_u128(0xC0FF_EE00_1234));
    const OTHER: ControllerId = ControllerId(Uuid::from_u128(7));

    fn backend(name: &str) -> BackendName {
        BackendName::new(name).unwrap()
    }

    fn pool(name: &str) -> PoolName {
        PoolName::new(name).unwrap()
    }

    fn scope() -> ScopeName {
        ScopeName::new("acme").unwrap()
    }

    fn name(of: &str, controller: ControllerId, number: u64) -> RunnerName {
        RunnerName::compose(&pool(of), controller, Suffix::from_bits(number))
    }

    fn spec(adopt: bool) -> Spec {
        let instance = Arc::new(InstanceSpec { image: "image".into(), ..InstanceSpec::default() });
        let of = PoolSpec {
            name: pool("linux"),
            scope: scope(),
            labels: Vec::new(),
            group: "default".into(),
            demand: DemandSource::ScaleSet(ScaleSetSpec { name: "linux".into(), adopt }),
            places: vec![Place {
                backend: backend("here"),
                mark: instance.mark().into(),
                instance,
            }],
            placement: Placement::InOrder,
            priority: 0,
            limits: Limits { warm: 0, min_idle: 0, max: 3 },
            schedules: Vec::new(),
            deadlines: Deadlines::default(),
        };
        let acme = ScopeSpec {
            url: "https://github.com/acme".into(),
            kind: ScopeKind::Organization("acme".into()),
            repositories: Vec::new(),
        };
        Spec {
            scopes: [(scope(), acme)].into(),
            pools: [(pool("linux"), of)].into(),
            ..Spec::default()
        }
    }

    fn instance(
        on: &str,
        runner: RunnerName,
        status: InstanceStatus,
    ) -> (BackendName, InstanceRecord) {
        let id = InstanceId("it".into());
        (backend(on), InstanceRecord { runner, id, status, created_at: None })
    }

    fn registration(name: &str, id: i64) -> (ScopeName, RunnerRecord) {
        let id = RegistrationId(id);
        (scope(), RunnerRecord { id, name: name.to_owned(), online: Some(true), busy: None })
    }

    fn set() -> BTreeMap<PoolName, ScaleSetRecord> {
        let record = ScaleSetRecord {
            id: ScaleSetId(7),
            name: "linux".into(),
            group: RunnerGroupId(1),
            labels: vec!["linux".into()],
            statistics: None,
        };
        [(pool("linux"), record)].into()
    }

    /// What comes of it, as a line for each row and note: name, instance, registration, and what a note says.
    fn check(found: &Found, adopt: bool, rows: &[(&RunnerName, &str, Option<i64>)], says: &[&str]) {
        let rebuilt = rebuild(found, &spec(adopt), Timestamp::UNIX_EPOCH);
        let got: Vec<_> = rebuilt
            .batch
            .runners
            .values()
            .flatten()
            .map(|row| (&row.name, row.instance.word(), row.registration.id().map(|id| id.0)))
            .collect();
        assert_eq!(got, rows);
        for row in rebuilt.batch.runners.values().flatten() {
            assert_eq!(row.registration.word(), "in doubt", "GitHub is asked first: {row:?}");
            assert!(row.retiring.as_ref().is_some_and(|retiring| !retiring.even_busy), "{row:?}");
            assert_eq!(row.generation, 1);
        }
        assert_eq!(rebuilt.notes.len(), says.len(), "{:?}", rebuilt.notes);
        for (note, says) in rebuilt.notes.iter().zip(says) {
            assert!(note.contains(says), "`{says}` is not in: {note}");
        }
        let taken = rebuilt.batch.pools.values().flatten().any(|pool| {
            matches!(&pool.scale_set, ScaleSetTrack::Present { id: ScaleSetId(7), made: true, .. })
        });
        let served = rows.iter().any(|(name, ..)| name.pool() == pool("linux"));
        assert_eq!(taken, served && !found.sets.is_empty(), "the scale set");
    }

    fn found(
        instances: Vec<(BackendName, InstanceRecord)>,
        registrations: Vec<(ScopeName, RunnerRecord)>,
        sets: BTreeMap<PoolName, ScaleSetRecord>,
    ) -> Found {
        Found { controller: CONTROLLER, instances, registrations, sets }
    }

    #[test]
    fn what_bears_our_tag_is_an_orphan_in_doubt() {
        use InstanceStatus::{Booting, Ended, Running};
        let (one, two) = (name("linux", CONTROLLER, 1), name("linux", CONTROLLER, 2));
        let (stranger, lost) = (name("linux", OTHER, 3), name("old", CONTROLLER, 4));
        let ended = || Ended(Exit::default());
        check(&found(vec![], vec![], BTreeMap::new()), false, &[], &[]);
        check(
            &found(
                vec![
                    instance("here", one.clone(), Running),
                    instance("here", two.clone(), ended()),
                ],
                vec![registration(one.as_str(), 5), registration("someone's", 6)],
                set(),
            ),
            false,
            &[(&one, "spent", Some(5)), (&two, "ended", None)],
            &[],
        );
        // A registration alone shows that the pool was ours; another controller's shows nothing.
        let alone = vec![registration(one.as_str(), 5), registration(stranger.as_str(), 6)];
        check(&found(vec![], alone, set()), false, &[(&one, "gone", Some(5))], &[]);
        let strangers = vec![registration(stranger.as_str(), 6)];
        check(&found(vec![], strangers.clone(), set()), false, &[], &["`adopt: true` in the pool"]);
        check(&found(vec![], strangers, set()), true, &[], &["the daemon takes it over"]);
        check(
            &found(vec![instance("here", stranger, Running)], vec![], BTreeMap::new()),
            false,
            &[],
            &["another's name"],
        );
        check(
            &found(vec![instance("here", lost.clone(), Booting)], vec![], set()),
            false,
            &[(&lost, "spent", None)],
            &["left alone", "not in the configuration"],
        );
        // Doubles: the living one is the row's; what is on another backend is told.
        let doubles = vec![
            instance("here", one.clone(), ended()),
            instance("here", one.clone(), Running),
            instance("here", one.clone(), ended()),
            instance("there", one.clone(), Running),
        ];
        check(&found(doubles, vec![], set()), false, &[(&one, "spent", None)], &["and on there"]);
    }
}
