//! The configuration that a script begins with.

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    model::{
        BackendName, Deadlines, DemandSource, InstanceSpec, Limits, PoolSpec, ScaleSetSpec,
        Schedule, ScopeKind, ScopeSpec, Spec,
    },
    ports::{Capabilities, HandOver},
};

use super::words;

/// The configuration so far.
#[derive(Debug, Default)]
pub struct Given {
    pub spec: Spec,
    pub backends: BTreeMap<BackendName, Capabilities>,
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
        for (option, value) in words::pairs(options)? {
            match option {
                "creates" => capabilities.creates_max = words::number(value)?,
                "soon" => capabilities.ready_in_four_minutes = words::number(value)?,
                "names" => capabilities.names_are_unique = value == "unique",
                "boots" => capabilities.boots_fast = value == "fast",
                _ => return Err(format!("`{option}` is no option of a backend")),
            }
        }
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
            backend: first_backend,
            instance: Arc::new(InstanceSpec::default()),
            mark: "mark".into(),
            priority: 0,
            limits: Limits { warm: 0, min_idle: 0, max: 10 },
            schedules: Vec::new(),
            deadlines: Deadlines::default(),
            name,
        };
        let (schedules, options): (Vec<_>, Vec<_>) =
            options.iter().cloned().partition(|option| option.contains(" * "));
        for (option, value) in words::pairs(&options)? {
            match option {
                "scope" => pool.scope = words::scope(value)?,
                "on" => pool.backend = words::backend(value)?,
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
                    pool.mark = value.into();
                    pool.instance =
                        Arc::new(InstanceSpec { image: value.into(), ..InstanceSpec::default() });
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
            let mark = pool.demand.mark(&pool.instance, &pool.scope, &pool.group, &pool.labels);
            pool.mark = mark.into();
        }
        self.spec.pools.insert(pool.name.clone(), pool);
        Ok(())
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
