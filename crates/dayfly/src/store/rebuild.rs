//! `dayfly store rebuild`: a lost store, made anew of what engines and GitHub show.

use std::fmt::Write;

use anyhow::Result;
use dayfly_config::Config;
use dayfly_core::{
    model::{ControllerId, ScaleSetTrack},
    ports::Clock,
    rebuild::{Found, Rebuilt},
};
use dayfly_engine::SteadyClock;
use dayfly_store::Vacant;
use serde::Serialize;

use super::world;
use crate::{
    arguments::Rebuild,
    failure::{Code, Failure},
    run,
};

/// Takes the place, looks at the world, and makes the store; a dry run looks alone.
pub async fn rebuild(options: &Rebuild, json: bool) -> Result<()> {
    let config = run::configuration(&options.configured)?;
    let now = SteadyClock::start().now();
    let refused = |error| Failure::new(Code::Store, error);
    // Taken first: no daemon begins anything while the world is looked at.
    let place = if options.dry_run {
        None
    } else {
        Some(Vacant::take(&config.store, options.aside.then_some(now)).map_err(refused)?)
    };
    let found = look(&config, options).await?;
    let rebuilt = dayfly_core::rebuild::rebuild(&found, &config.spec, now);
    let document = Document::of(&config, &found, &rebuilt, place.is_some());
    if let Some(place) = place {
        place.fill(found.controller, &rebuilt.batch).map_err(refused)?;
    }
    println!("{}", if json { serde_json::to_string(&document)? } else { document.text() });
    Ok(())
}

async fn look(config: &Config, options: &Rebuild) -> Result<Found, Failure> {
    let controller = match options.controller {
        Some(id) => ControllerId(id),
        None => world::controller(config).await?,
    };
    let instances = world::instances(config, controller).await?;
    let (registrations, sets) = world::github(config, &options.configured, controller).await?;
    Ok(Found { controller, instances, registrations, sets })
}

/// What was found and made.
#[derive(Debug, Serialize)]
struct Document {
    store: String,
    /// Whether the store was made; false in a dry run.
    made: bool,
    controller: ControllerId,
    runners: Vec<RunnerLine>,
    scale_sets: Vec<SetLine>,
    /// What is left alone or needs a hand, and why.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RunnerLine {
    name: String,
    backend: String,
    /// `spent`: its process may live; `ended`; `gone`: there is none.
    instance: &'static str,
    /// GitHub's id of its registration, where there is one.
    registration: Option<i64>,
}

#[derive(Debug, Serialize)]
struct SetLine {
    pool: String,
    name: String,
    id: i64,
}

impl Document {
    fn of(config: &Config, found: &Found, rebuilt: &Rebuilt, made: bool) -> Self {
        let runners = rebuilt.batch.runners.values().flatten().map(|row| RunnerLine {
            name: row.name.to_string(),
            backend: row.backend.to_string(),
            instance: row.instance.word(),
            registration: row.registration.id().map(|id| id.0),
        });
        let sets =
            rebuilt.batch.pools.values().flatten().filter_map(|pool| match &pool.scale_set {
                ScaleSetTrack::Present { id, name, .. } => {
                    Some(SetLine { pool: pool.name.to_string(), name: name.clone(), id: id.0 })
                }
                _ => None,
            });
        let mut notes = rebuilt.notes.clone();
        let obstacles = Vacant::obstacles(&config.store);
        if let (Some(first), false) = (obstacles.first(), made) {
            notes.push(format!(
                "{} exists: a rebuild refuses it, or renames it with --aside",
                first.display()
            ));
        }
        Self {
            store: config.store.display().to_string(),
            made,
            controller: found.controller,
            runners: runners.collect(),
            scale_sets: sets.collect(),
            notes,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("controller {}", self.controller);
        for runner in &self.runners {
            let registration = match runner.registration {
                Some(id) => format!("registration {id}"),
                None => "no registration".to_owned(),
            };
            let RunnerLine { name, backend, instance, .. } = runner;
            let instance = if *instance == "gone" {
                "no instance".to_owned()
            } else {
                format!("instance {instance} on {backend}")
            };
            let _ = write!(text, "\nrunner {name}: {instance}, {registration}");
        }
        for set in &self.scale_sets {
            let _ = write!(text, "\nscale set `{}` (id {}) of pool {}", set.name, set.id, set.pool);
        }
        for note in &self.notes {
            let _ = write!(text, "\nnote: {note}");
        }
        let _ = match self.made {
            true => write!(text, "\n{} is made; `dayfly run` takes it up from here", self.store),
            false => write!(text, "\ndry run: {} is not made", self.store),
        };
        text
    }
}
