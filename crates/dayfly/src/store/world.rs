//! What engines and GitHub show of a lost store's world. Reads alone; whole or an error, never a part.

use std::{collections::BTreeMap, sync::Arc};

use dayfly_config::Config;
use dayfly_core::{
    model::{BackendName, ControllerId, PoolName, ScopeName},
    ports::{
        Clock, Forge, ForgeError, ForgeErrorKind, InstanceRecord, RunnerRecord, ScaleSetRecord,
    },
};
use dayfly_engine::SteadyClock;

use crate::{
    arguments::Configured,
    failure::{Code, Failure},
    run,
};

/// The one controller whose tags the instances of all backends bear.
pub async fn controller(config: &Config) -> Result<ControllerId, Failure> {
    let mut found: BTreeMap<ControllerId, Vec<String>> = BTreeMap::new();
    for (name, backend) in &config.backends {
        for (controller, count) in run::controllers(name, backend, config).await? {
            found.entry(controller).or_default().push(format!("{count} on {name}"));
        }
    }
    let known = "the daemon's log (`dayfly runs`, controller=…), and `dayfly store check` of a backup, tell the id";
    let mut controllers = found.keys();
    match (controllers.next(), controllers.next()) {
        (Some(controller), None) => Ok(*controller),
        (None, _) => Err(Failure::new(Code::Store, "no instance bears a controller's tag, so that its id is not known").hint(
            format!("give it with --controller ID: {known}; where nothing of it is left, `dayfly run` makes a new store"),
        )),
        (Some(_), Some(_)) => {
            let list: Vec<String> = found
                .iter()
                .map(|(controller, places)| format!("{controller} ({})", places.join(", ")))
                .collect();
            let message = format!("instances of {} controllers were found: {}", list.len(), list.join("; "));
            Err(Failure::new(Code::Store, message)
                .hint(format!("say which one's store is lost with --controller ID: {known}")))
        }
    }
}

/// Every instance of the controller.
pub async fn instances(
    config: &Config,
    controller: ControllerId,
) -> Result<Vec<(BackendName, InstanceRecord)>, Failure> {
    let mut instances = Vec::new();
    for (name, backend) in &config.backends {
        let engine = run::backend(name, backend, config, controller)?;
        let listed = engine.list().await.map_err(|error| {
            Failure::new(Code::Backend, format!("backend {name}: {error}"))
                .hint("a store is rebuilt of all that there is: mend the backend, and try again")
        })?;
        instances.extend(listed.into_iter().map(|record| (name.clone(), record)));
    }
    Ok(instances)
}

/// What GitHub shows: every registration of the scopes, and the scale sets of the pools' names.
pub async fn github(
    config: &Config,
    options: &Configured,
    controller: ControllerId,
) -> Result<(Vec<(ScopeName, RunnerRecord)>, BTreeMap<PoolName, ScaleSetRecord>), Failure> {
    let clock = Arc::new(SteadyClock::start());
    let mut registrations = Vec::new();
    let mut sets = BTreeMap::new();
    for (name, scope) in &config.scopes {
        let credential = run::credential(name, scope.auth.as_ref(), options)?;
        let clock: Arc<dyn Clock> = Arc::<SteadyClock>::clone(&clock);
        let forge = run::forge(name, scope, &credential, controller, clock)?;
        let failed = |error: ForgeError| refused(name, &error);
        let listed = forge.list_runners().await.map_err(failed)?;
        registrations.extend(listed.into_iter().map(|record| (name.clone(), record)));
        for pool in config.spec.pools.values().filter(|pool| pool.scope == *name) {
            let Some(wanted) = pool.scale_set() else { continue };
            let group = forge.find_group(&pool.group).await.map_err(failed)?;
            if let Some(set) = forge.find_scale_set(group, &wanted.name).await.map_err(failed)? {
                sets.insert(pool.name.clone(), set);
            }
        }
    }
    Ok((registrations, sets))
}

fn refused(scope: &ScopeName, error: &ForgeError) -> Failure {
    let code = match error.kind {
        ForgeErrorKind::Unauthorized | ForgeErrorKind::NotAllowed(_) => Code::Credential,
        _ => Code::Failed,
    };
    Failure::new(code, format!("scope {scope}: {error}"))
        .hint("a store is rebuilt of all that there is: try again once GitHub answers; `dayfly check` tells more")
}
