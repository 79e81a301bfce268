//! A job that GitHub has given to no scale set of ours, explained from what GitHub's REST API tells of it.

use jiff::Timestamp;

use super::{Explanation, pool_conditions};
use crate::{
    model::{PoolSpec, Spec},
    plan::{Census, advertised_capacity, limits_at},
    ports::JobRecord,
    route::Routes,
    world::World,
};

/// Explains a job from what GitHub's REST API tells of it. Of a run's jobs, the first that is not completed.
#[must_use]
pub fn explain_listed(
    world: &World,
    spec: &Spec,
    repository: &str,
    records: &[JobRecord],
    now: Timestamp,
) -> Option<Explanation> {
    let record = records.iter().find(|record| record.status != "completed").or(records.first())?;
    let name = format!("job {} ({} of {repository})", record.id, record.name);
    let runner = record.runner.as_deref().filter(|runner| !runner.is_empty());
    let mut conditions = Vec::new();
    let sentence = match record.status.as_str() {
        "completed" => {
            let on = runner
                .map_or_else(|| "without a runner".to_owned(), |runner| format!("on {runner}"));
            format!(
                "{name} completed {on}: {}",
                record.conclusion.as_deref().unwrap_or("no conclusion")
            )
        }
        "in_progress" => {
            format!("{name} runs on {}", runner.unwrap_or("a runner that GitHub does not name"))
        }
        "queued" => {
            let routes = Routes::of(spec, |_| true);
            let pool = routes.pool_of(repository, &record.labels);
            match (
                pool.and_then(|pool| spec.pools.get(pool)),
                routes.nearest(repository, &record.labels),
            ) {
                (Some(of), _) => {
                    if let Some(pool) = world.pool(of.name.as_str()) {
                        conditions = pool_conditions(world, spec, pool, now);
                    }
                    format!(
                        "{name} is queued and GitHub has not given it to pool {}, {}",
                        of.name,
                        held(world, spec, of, now)
                    )
                }
                (None, Some((nearest, lacks))) => format!(
                    "{name} is queued and no pool here can take it: the nearest is {nearest}, which lacks the labels {}",
                    lacks.join(", ")
                ),
                (None, None) => {
                    format!("{name} is queued and there is no pool here for {repository}")
                }
            }
        }
        other => format!(
            "{name} is not queued yet: GitHub holds it back itself (its status is `{other}`: an approval, a concurrency \
             group or another job)"
        ),
    };
    Some(Explanation { subject: "job".into(), sentence, conditions })
}

/// Why GitHub may hold a job back from a pool whose labels fit.
fn held(world: &World, spec: &Spec, of: &PoolSpec, now: Timestamp) -> String {
    let Some(pool) = world.pool(of.name.as_str()) else {
        return "which is not known yet".into();
    };
    let census = Census::of(pool);
    if of.scale_set().is_none() {
        return match pool_conditions(world, spec, pool, now).first() {
            _ if !census.idle.is_empty() => format!(
                "which has {} idle runners that could take it: look whether runner group `{}` lets the repository in, \
                 public repositories above all",
                census.idle.len(),
                of.group
            ),
            Some(first) => format!("which has no idle runner: {first}"),
            None => "which has no idle runner".into(),
        };
    }
    let capacity = advertised_capacity(world, spec, pool, of, limits_at(of, now).0, &census, now);
    if let Some(first) = pool_conditions(world, spec, pool, now).first().filter(|_| capacity == 0) {
        return format!("which advertises no capacity: {first}");
    }
    let statistics = pool.state.statistics.map(|(statistics, _)| statistics).unwrap_or_default();
    if statistics.assigned >= capacity {
        return format!(
            "which advertises a capacity of {capacity} and has {} jobs",
            statistics.assigned
        );
    }
    if statistics.available == 0 {
        return format!(
            "which has room (capacity {capacity}, {} jobs) and is told of no job held back: look whether runner group \
             `{}` lets the repository in, public repositories above all",
            statistics.assigned, of.group
        );
    }
    format!(
        "which has room (capacity {capacity}, {} jobs) while GitHub holds {} back: its next message should bring it",
        statistics.assigned, statistics.available
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{
            BackendName, ControllerId, Deadlines, DemandSource, InstanceSpec, Limits, Place,
            Placement, PoolName, ScaleSetSpec, ScopeKind, ScopeName, ScopeSpec,
        },
        ports::Stored,
    };

    fn spec() -> Spec {
        let scope = ScopeName::new("acme").unwrap();
        let pool = |name: &str, labels: &[&str]| {
            let name = PoolName::new(name).unwrap();
            let spec = PoolSpec {
                name: name.clone(),
                scope: scope.clone(),
                labels: labels.iter().map(ToString::to_string).collect(),
                group: "Default".into(),
                demand: DemandSource::ScaleSet(ScaleSetSpec {
                    name: name.to_string(),
                    adopt: false,
                }),
                places: vec![Place {
                    backend: BackendName::new("here").unwrap(),
                    instance: Arc::new(InstanceSpec::default()),
                    mark: "mark".into(),
                }],
                placement: Placement::InOrder,
                priority: 0,
                limits: Limits { warm: 0, min_idle: 0, max: 3 },
                schedules: Vec::new(),
                deadlines: Deadlines::default(),
            };
            (name, spec)
        };
        Spec {
            scopes: BTreeMap::from([(
                scope.clone(),
                ScopeSpec {
                    url: "https://github.com/acme".into(),
                    kind: ScopeKind::Organization("acme".into()),
                    repositories: Vec::new(),
                },
            )]),
            pools: BTreeMap::from([pool("small", &["linux"]), pool("big", &["Linux", "gpu"])]),
            ..Spec::default()
        }
    }

    #[test]
    fn a_listed_job_is_explained() {
        let check = |status: &str, labels: &[&str], expected: &str| {
            let spec = spec();
            let stored = Stored {
                controller: ControllerId(Uuid::from_u128(1)),
                clock: None,
                runners: Vec::new(),
                pools: Vec::new(),
                jobs: Vec::new(),
                workflow_jobs: Vec::new(),
                scopes: Vec::new(),
                troubles: Vec::new(),
            };
            let now = Timestamp::UNIX_EPOCH;
            let world = World::new(stored, &spec, BTreeMap::new(), now);
            let record = JobRecord {
                id: 7,
                run_id: 42,
                name: "build".into(),
                status: status.into(),
                conclusion: None,
                labels: labels.iter().map(ToString::to_string).collect(),
                runner: None,
            };
            let explained = explain_listed(&world, &spec, "acme/site", &[record], now).unwrap();
            assert!(explained.sentence.contains(expected), "{}", explained.sentence);
        };
        check(
            "queued",
            &["self-hosted", "LINUX"],
            "not given it to pool small, which advertises no capacity",
        );
        check("queued", &["gpu"], "not given it to pool big");
        check("queued", &["linux", "arm64"], "the nearest is small, which lacks the labels arm64");
        check("waiting", &["linux"], "is not queued yet");
        check("in_progress", &["linux"], "runs on a runner that GitHub does not name");
        check("completed", &["linux"], "completed without a runner");
        check("new-word", &["linux"], "`new-word`");
    }
}
