//! Which pool a workflow job goes to. GitHub knows no such thing: it gives a job to any runner that has all of its labels. So every
//! job is counted for one pool alone, and always for the same.

use std::collections::BTreeSet;

use crate::model::{PoolName, PoolSpec, ScopeKind, ScopeName, Spec};

/// What is wanted of a pool, ready to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    pool: PoolName,
    scope: ScopeName,
    kind: ScopeKind,
    /// Small letters.
    labels: BTreeSet<String>,
}

/// The pools that jobs may go to, the first to be asked first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// Of the pools that `takes` picks: by priority, then fewest labels, then name.
    #[must_use]
    pub fn of(spec: &Spec, takes: impl Fn(&PoolSpec) -> bool) -> Self {
        let mut pools: Vec<_> = spec
            .pools
            .values()
            .filter(|of| takes(of))
            .filter_map(|of| {
                let route = Route {
                    pool: of.name.clone(),
                    scope: of.scope.clone(),
                    kind: spec.scopes.get(&of.scope)?.kind.clone(),
                    labels: of.all_labels().iter().map(|label| label.to_lowercase()).collect(),
                };
                Some((of.priority.saturating_neg(), route.labels.len(), of.name.clone(), route))
            })
            .collect();
        pools.sort_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)));
        Self(pools.into_iter().map(|(.., route)| route).collect())
    }

    /// The pool of a job of this repository (`OWNER/REPO`): the first whose labels contain the job's. Of all that do, it is the one
    /// with the fewest that the job does not ask for.
    #[must_use]
    pub fn pool_of(&self, repository: &str, labels: &[String]) -> Option<&PoolName> {
        let wanted: Vec<String> = labels.iter().map(|label| label.to_lowercase()).collect();
        let takes = |route: &&Route| {
            route.kind.has(repository) && wanted.iter().all(|label| route.labels.contains(label))
        };
        self.0.iter().find(takes).map(|route| &route.pool)
    }

    /// The pool that lacks the fewest of the job's labels, and which it lacks; `None` where no pool is of the job's scope.
    #[must_use]
    pub fn nearest(&self, repository: &str, labels: &[String]) -> Option<(&PoolName, Vec<String>)> {
        let lacks = |route: &Route| -> Vec<String> {
            labels
                .iter()
                .filter(|label| !route.labels.contains(&label.to_lowercase()))
                .cloned()
                .collect()
        };
        self.0
            .iter()
            .filter(|route| route.kind.has(repository))
            .map(|route| (&route.pool, lacks(route)))
            .min_by_key(|(_, lacks)| lacks.len())
    }

    /// The scope through which a job of this repository can be asked for.
    #[must_use]
    pub fn scope_of(&self, repository: &str) -> Option<&ScopeName> {
        self.0.iter().find(|route| route.kind.has(repository)).map(|route| &route.scope)
    }

    /// The scopes whose jobs may go to one of the pools.
    pub fn scopes(&self) -> BTreeSet<&ScopeName> {
        self.0.iter().map(|route| &route.scope).collect()
    }

    /// Whether jobs may go to this pool.
    #[must_use]
    pub fn has(&self, pool: &PoolName) -> bool {
        self.0.iter().any(|route| route.pool == *pool)
    }
}

impl ScopeKind {
    /// Whether a repository (`OWNER/REPO`) belongs to the scope. An enterprise's address does not tell its organisations: it takes
    /// any.
    #[must_use]
    pub fn has(&self, repository: &str) -> bool {
        let Some((owner, name)) = repository.split_once('/') else { return false };
        match self {
            Self::Organization(of) => of.eq_ignore_ascii_case(owner),
            Self::Repository { owner: of, name: called } => {
                of.eq_ignore_ascii_case(owner) && called.eq_ignore_ascii_case(name)
            }
            Self::Enterprise(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::model::{
        BackendName, Deadlines, DemandSource, InstanceSpec, Limits, Place, Placement, PoolSpec,
        ScopeSpec,
    };

    fn spec() -> Spec {
        let scope = |name: &str, kind: ScopeKind| {
            let url = format!("https://github.example/{name}");
            (ScopeName::new(name).unwrap(), ScopeSpec { url, kind, repositories: Vec::new() })
        };
        let pool = |name: &str, scope: &str, priority: i32, labels: &[&str]| {
            let name = PoolName::new(name).unwrap();
            let spec = PoolSpec {
                name: name.clone(),
                scope: ScopeName::new(scope).unwrap(),
                labels: labels.iter().map(ToString::to_string).collect(),
                group: "Default".into(),
                demand: DemandSource::Webhook,
                places: vec![Place {
                    backend: BackendName::new("here").unwrap(),
                    instance: Arc::new(InstanceSpec::default()),
                    mark: "mark".into(),
                }],
                placement: Placement::InOrder,
                priority,
                limits: Limits { warm: 0, min_idle: 0, max: 3 },
                schedules: Vec::new(),
                deadlines: Deadlines::default(),
            };
            (name, spec)
        };
        let repository = ScopeKind::Repository { owner: "Umbrella".into(), name: "tools".into() };
        Spec {
            scopes: BTreeMap::from([
                scope("acme", ScopeKind::Organization("Acme".into())),
                scope("tools", repository),
            ]),
            pools: BTreeMap::from([
                pool("any", "acme", 0, &["linux"]),
                pool("big", "acme", 0, &["Linux", "x64", "big"]),
                pool("bis", "acme", 0, &["linux", "x64", "small"]),
                pool("first", "acme", 5, &["linux", "arm64", "metal", "spare"]),
                pool("of-tools", "tools", 0, &["linux"]),
            ]),
            ..Spec::default()
        }
    }

    #[test]
    fn a_job_goes_to_one_pool() {
        let routes = Routes::of(&spec(), |_| true);
        let check = |repository: &str, labels: &[&str], expected: Option<&str>| {
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            let pool = routes.pool_of(repository, &labels).map(PoolName::as_str);
            assert_eq!(pool, expected, "{repository} {labels:?}");
        };
        // A higher priority first, however many labels it has beside.
        check("acme/app", &["linux"], Some("first"));
        check("ACME/app", &["self-hosted", "LINUX"], Some("first"));
        // Of equal priority the one with fewest extra labels, then by name.
        check("acme/app", &["x64"], Some("big"));
        check("acme/app", &["small", "Self-Hosted"], Some("bis"));
        check("acme/app", &["x64", "arm64"], None);
        check("acme/app", &[], Some("first"));
        check("umbrella/tools", &["linux"], Some("of-tools"));
        check("umbrella/other", &["linux"], None);
        check("nobody/app", &["linux"], None);
        check("acme", &["linux"], None);
        assert!(Routes::of(&spec(), |_| false).pool_of("acme/app", &[]).is_none());
    }

    #[test]
    fn the_nearest_pool_and_what_it_lacks() {
        let routes = Routes::of(&spec(), |_| true);
        let check = |repository: &str, labels: &[&str], expected: Option<(&str, &[&str])>| {
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            let nearest = routes.nearest(repository, &labels);
            let told = nearest.as_ref().map(|(pool, lacks)| {
                (pool.as_str(), lacks.iter().map(String::as_str).collect::<Vec<_>>())
            });
            assert_eq!(told, expected.map(|(pool, lacks)| (pool, lacks.to_vec())), "{labels:?}");
        };
        check("acme/app", &["linux", "x64", "GPU"], Some(("big", &["GPU"])));
        check("acme/app", &["windows"], Some(("first", &["windows"])));
        check("umbrella/tools", &["x64", "gpu"], Some(("of-tools", &["x64", "gpu"])));
        check("nobody/app", &["linux"], None);
    }
}
