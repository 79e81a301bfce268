//! The configuration that a script begins with.

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    model::{
        BackendName, Budget, Capacity, Deadlines, DemandSource, Detected, InstanceSpec, Limits,
        Place, Placement, PoolSpec, ScaleSetSpec, Schedule, ScopeKind, ScopeSpec, Spec,
    },
    ports::{Capabilities, HandOver},
};

use super::words;

/// The configuration so far.
#[derive(Debug, Default)]
pub struct Given {
    pub spec: Spec,
    pub backends: BTreeMap<BackendName, Capabilities>,
    /// What each says that it has.
    pub capacities: BTreeMap<BackendName, Capacity>,
}

impl Given {
    /// `given scope NAME repositories=acme/app`, `given backend NAME OPTIONS`, `given pool NAME OPTIONS`.
    pub fn take(&mut self, words: &[String]) -> Result<(), String> {
        let [what, name, options @ ..] = words else {
            return Err("given what?".into());
        };
        match what.as_str() {
            "scope" => self.scope(name, options),
            "backend" => self.backend(name, options),
            "pool" => self.pool(name, options),
            _ => Err(format!("`given {what}` is not known")),
        }
    }

    fn scope(&mut self, name: &str, options: &[String]) -> Result<(), String> {
        let repositories = words::pairs(options)?.get("repositories").copied();
        let spec = ScopeSpec {
            url: format!("https://github.example/{name}"),
            kind: ScopeKind::Organization(name.to_owned()),
            repositories: repositories
                .map(|of| of.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        self.spec.scopes.insert(words::scope(name)?, spec);
        Ok(())
    }

    fn backend(&mut self, name: &str, options: &[String]) -> Result<(), String> {
        let mut capabilities = Capabilities {
            hand_over: HandOver::Push,
            creates_max: 10,
            ready_in_four_minutes: 10,
            boots_fast: false,
            names_are_unique: false,
        };
        let mut budget = Budget::default();
        for (option, value) in words::pairs(options)? {
            match option {
                // `has=8`: it is asked, and has as many processors.
                "has" => {
                    let cpu_millis = words::number::<u64>(value)? * 1_000;
                    let has = Capacity { cpu_millis, memory_bytes: 1 << 40 };
                    self.capacities.insert(words::backend(name)?, has);
                    let detected = Detected { cpus: true, memory: false };
                    self.spec.detected.insert(words::backend(name)?, detected);
                }
                "runners" => budget.runners = Some(words::number(value)?),
                "cpus" => budget.cpu_millis = Some(words::number::<u64>(value)? * 1_000),
                "memory" => budget.memory_bytes = Some(words::number::<u64>(value)? << 30),
                "creates" => capabilities.creates_max = words::number(value)?,
                "soon" => capabilities.ready_in_four_minutes = words::number(value)?,
                "names" => capabilities.names_are_unique = value == "unique",
                "boots" => capabilities.boots_fast = value == "fast",
                _ => return Err(format!("`{option}` is no option of a backend")),
            }
        }
        self.spec.budgets.insert(words::backend(name)?, budget);
        self.backends.insert(words::backend(name)?, capabilities);
        Ok(())
    }

    /// A pool takes the first scope and the first backend where none is named.
    fn pool(&mut self, name: &str, options: &[String]) -> Result<(), String> {
        let first_scope = self.spec.scopes.keys().next().ok_or("a scope is wanted first")?.clone();
        let first_backend = self.backends.keys().next().ok_or("a backend is wanted first")?.clone();
        let name = words::pool(name)?;
        let mut pool = PoolSpec {
            scope: first_scope,
            labels: Vec::new(),
            group: "Default".into(),
            demand: DemandSource::ScaleSet(ScaleSetSpec { name: name.to_string(), adopt: false }),
            places: vec![place(first_backend)],
            placement: Placement::InOrder,
            priority: 0,
            limits: Limits { warm: 0, min_idle: 0, max: 10 },
            schedules: Vec::new(),
            deadlines: Deadlines::default(),
            name,
        };
        let (schedules, options): (Vec<_>, Vec<_>) =
            options.iter().cloned().partition(|option| option.contains(" * "));
        let options = words::pairs(&options)?;
        if let Some(on) = options.get("on") {
            let backends: Result<Vec<_>, _> = on.split(',').map(words::backend).collect();
            pool.places = backends?.into_iter().map(place).collect();
        }
        for (option, value) in options {
            match option {
                "on" => {}
                "spread" => pool.placement = Placement::Spread,
                "cpus" => {
                    let millis = words::number::<u64>(value)? * 1_000;
                    each(&mut pool, |instance| instance.cpu_millis = Some(millis));
                }
                "memory" => {
                    let bytes = words::number::<u64>(value)? << 30;
                    each(&mut pool, |instance| instance.memory_bytes = Some(bytes));
                }
                "group" => pool.group = value.into(),
                "scope" => pool.scope = words::scope(value)?,
                "max" => pool.limits.max = words::number(value)?,
                "min_idle" => pool.limits.min_idle = words::number(value)?,
                "warm" => pool.limits.warm = words::number(value)?,
                "priority" => pool.priority = words::number(value)?,
                "adopt" => set(&mut pool)?.adopt = value == "yes",
                "set" => set(&mut pool)?.name = value.into(),
                "demand" if value == "fixed" => pool.demand = DemandSource::Fixed,
                "demand" if value == "webhook" => pool.demand = DemandSource::Webhook,
                "labels" => pool.labels = value.split(',').map(str::to_owned).collect(),
                "image" => {
                    each(&mut pool, |instance| instance.image = value.into());
                    pool.places.iter_mut().for_each(|place| place.mark = value.into());
                }
                "creating" => pool.deadlines.creating = words::duration(value)?,
                "booting" => pool.deadlines.booting = words::duration(value)?,
                "minting" => pool.deadlines.minting = words::duration(value)?,
                "starting" => pool.deadlines.starting = words::duration(value)?,
                "idle" => pool.deadlines.idle = words::duration(value)?,
                "removing" => pool.deadlines.removing = words::duration(value)?,
                "job_timeout" => pool.deadlines.job_timeout = words::duration(value)?,
                "warm_for" => pool.deadlines.warm = words::duration(value)?,
                _ => return Err(format!("`{option}` is no option of a pool")),
            }
        }
        for schedule in schedules {
            pool.schedules.push(read_schedule(&schedule)?);
        }
        if pool.scale_set().is_none() {
            let PoolSpec { demand, scope, group, labels, places, .. } = &mut pool;
            for place in places {
                place.mark = demand.mark(&place.instance, scope, group, labels).into();
            }
        }
        self.spec.pools.insert(pool.name.clone(), pool);
        Ok(())
    }
}

fn place(backend: BackendName) -> Place {
    Place { backend, instance: Arc::new(InstanceSpec::default()), mark: "mark".into() }
}

/// Changes what is made, wherever it is made.
fn each(pool: &mut PoolSpec, change: impl Fn(&mut InstanceSpec)) {
    for place in &mut pool.places {
        change(Arc::make_mut(&mut place.instance));
    }
}

fn set(pool: &mut PoolSpec) -> Result<&mut ScaleSetSpec, String> {
    match &mut pool.demand {
        DemandSource::ScaleSet(set) => Ok(set),
        DemandSource::Fixed | DemandSource::Webhook => Err("such a pool has no scale set".into()),
    }
}

/// `"0 7 * * 1-5 Europe/Berlin warm=5 max=9"`, in quotes.
fn read_schedule(text: &str) -> Result<Schedule, String> {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let [minute, hour, day, month, weekday, timezone, options @ ..] = words.as_slice() else {
        return Err(format!("`{text}` is no schedule"));
    };
    let mut schedule = Schedule {
        cron: [minute, hour, day, month, weekday].map(String::as_str).join(" "),
        timezone: timezone.clone(),
        warm: None,
        min_idle: None,
        max: None,
    };
    for (option, value) in words::pairs(options)? {
        let value = Some(words::number(value)?);
        match option {
            "warm" => schedule.warm = value,
            "min_idle" => schedule.min_idle = value,
            "max" => schedule.max = value,
            _ => return Err(format!("`{option}` is no option of a schedule")),
        }
    }
    Ok(schedule)
}
