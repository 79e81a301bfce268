//! What there is on backends that make both containers and virtual machines. It counts rows, and asks no engine.

use std::collections::BTreeMap;

use dayfly_core::model::{BackendName, LxdKind, Runner, Spec};
use serde::{Deserialize, Serialize};

/// Instances that may live on an LXD or Incus, by their sort. Together they are the backend's runners.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LxdInstances {
    /// System containers.
    pub containers: u32,
    /// Virtual machines.
    pub vms: u32,
    /// Made from what their pool was before, whatever that was.
    pub former: u32,
}

impl LxdInstances {
    /// Of each backend on which a pool makes such.
    pub(crate) fn by_backend<'a>(
        spec: &Spec,
        runners: impl Iterator<Item = &'a Runner>,
    ) -> BTreeMap<BackendName, Self> {
        let places = spec.pools.values().flat_map(|pool| &pool.places);
        let of_lxd = places.filter(|place| place.instance.lxd.is_some());
        let mut counts: BTreeMap<_, Self> =
            of_lxd.map(|place| (place.backend.clone(), Self::default())).collect();
        for runner in runners.filter(|runner| runner.instance.may_live()) {
            let Some(counted) = counts.get_mut(&runner.backend) else { continue };
            let pool = spec.pools.get(&runner.pool());
            let place = pool.and_then(|pool| pool.place(&runner.backend));
            // A row has the mark of what it was made from, and not the sort itself.
            let made_so = place.filter(|place| place.mark == runner.mark);
            let kind = made_so.and_then(|place| place.instance.lxd.as_ref()).map(|lxd| lxd.kind);
            let count = match kind {
                Some(LxdKind::Container) => &mut counted.containers,
                Some(LxdKind::Vm) => &mut counted.vms,
                None => &mut counted.former,
            };
            *count = count.saturating_add(1);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dayfly_core::{
        model::{
            ControllerId, Deadlines, DemandSource, Exit, Instance, InstanceSpec, Limits, LxdSpec,
            Place, Placement, PoolName, PoolSpec, RunnerName, Suffix,
        },
        ports::Clock,
    };
    use dayfly_engine::SteadyClock;

    use super::*;

    fn pool(name: &str, places: &[(&str, Option<LxdKind>)]) -> (PoolName, PoolSpec) {
        let place = |(backend, kind): &(&str, Option<LxdKind>)| {
            let lxd = kind.map(|kind| LxdSpec { kind, ..LxdSpec::default() });
            let instance = InstanceSpec { lxd, ..InstanceSpec::default() };
            Place {
                backend: BackendName::new(backend).unwrap(),
                mark: instance.mark().into(),
                instance: Arc::new(instance),
            }
        };
        let name = PoolName::new(name).unwrap();
        let spec = PoolSpec {
            name: name.clone(),
            scope: "acme".to_owned().try_into().unwrap(),
            labels: Vec::new(),
            group: "Default".into(),
            demand: DemandSource::Webhook,
            places: places.iter().map(place).collect(),
            placement: Placement::InOrder,
            priority: 0,
            limits: Limits { warm: 0, min_idle: 0, max: 9 },
            schedules: Vec::new(),
            deadlines: Deadlines::default(),
        };
        (name, spec)
    }

    #[test]
    fn sorts_are_counted_beside_each_other() {
        let (container, vm) = (Some(LxdKind::Container), Some(LxdKind::Vm));
        let spec = Spec {
            pools: BTreeMap::from([
                pool("small", &[("rack", container), ("here", None)]),
                pool("large", &[("rack", vm), ("spare", vm)]),
            ]),
            ..Spec::default()
        };
        let (mut runners, now) = (Vec::new(), SteadyClock::start().now());
        let mut add = |pool: &str, backend: &str, mark: Option<&str>| {
            let (pool, backend) =
                (PoolName::new(pool).unwrap(), BackendName::new(backend).unwrap());
            let suffix = Suffix::from_bits(runners.len() as u64);
            let name = RunnerName::compose(&pool, ControllerId(uuid::Uuid::nil()), suffix);
            let place = spec.pools.get(&pool).and_then(|pool| pool.place(&backend));
            let mark = mark.map_or_else(|| place.unwrap().mark.clone(), Into::into);
            runners.push(Runner::planned(name, backend, mark, now));
        };
        add("small", "rack", None);
        add("small", "rack", None);
        add("small", "here", None);
        add("large", "rack", None);
        add("large", "rack", Some("another"));
        add("of-old", "rack", Some("another"));
        // It has ended, and takes nothing any more.
        add("small", "rack", None);
        runners.last_mut().unwrap().instance =
            Instance::Ended { since: now, exit: Exit::default() };
        let counts = LxdInstances::by_backend(&spec, runners.iter());
        let counts: BTreeMap<_, _> = counts
            .iter()
            .map(|(name, of)| (name.as_str(), (of.containers, of.vms, of.former)))
            .collect();
        assert_eq!(counts, BTreeMap::from([("rack", (2, 1, 2)), ("spare", (0, 0, 0))]));
    }
}
