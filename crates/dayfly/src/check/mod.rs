//! `dayfly check`: tries what a configuration names, for real, and says how to mend what is wrong.

mod disk;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, Result};
use dayfly_config::{Config, DEFAULT_GROUP};
use dayfly_core::{
    model::{ControllerId, InstanceSpec, PoolName, PoolSpec, ScopeName, Spec},
    ports::{Backend, Finding, Forge},
};
use dayfly_engine::SteadyClock;
use dayfly_server::Intake;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    arguments::Configured,
    failure::{Code, Failure},
    run, webhook,
};

/// Tries everything, and prints what came of it.
pub async fn run(options: &Configured, json: bool) -> Result<()> {
    let config = run::configuration(options)?;
    let mut findings =
        vec![in_order("configuration", format!("{} is well-formed", options.config.display()))];
    for warning in &config.warnings {
        findings.push(in_order(
            "configuration",
            format!("warning: {}; {}", warning.message, warning.remedy),
        ));
    }
    findings.extend(disk::findings(&config.store));
    // Nothing is made in this name: it only asks.
    let controller = run::new_controller()?;
    findings.extend(endpoint(&config).await);
    let (spec, told) = programs(&config, options, controller).await?;
    findings.extend(told);
    let config = Config { spec, ..config };
    findings.extend(outside(&config, options, controller).await?);
    conclude(&findings, json)
}

/// Prints what was found; an error where anything is wrong.
pub fn conclude(findings: &[Finding], json: bool) -> Result<()> {
    print(findings, json)?;
    let worst = findings
        .iter()
        .filter(|finding| finding.result.is_err())
        .map(|finding| finding.exit_code)
        .max();
    match worst {
        None => Ok(()),
        Some(code) => {
            let wrong = findings.iter().filter(|finding| finding.result.is_err()).count();
            Err(Failure::new(code_of(code), format!("{wrong} of {} checks failed", findings.len()))
                .into())
        }
    }
}

/// The HTTP endpoint: its secrets, its certificate and its address, but for the port, which a daemon may have.
async fn endpoint(config: &Config) -> Option<Finding> {
    let server = config.server.as_ref()?;
    let (_tell, told) = tokio::sync::watch::channel(None);
    let tried = async {
        let mut options = run::intake_options(server, told)?;
        options.listen.set_port(0);
        let opened = Intake::open(options).await;
        opened.map_err(|error| Failure::new(Code::Failed, dayfly_telemetry::Chain(&error)))
    };
    Some(match tried.await {
        Ok(_) => in_order("endpoint", format!("{} can be served", server.listen)),
        Err(failure) => wrong("endpoint", &failure),
    })
}

/// The runner programs that pools want: fetched as the daemon would, and kept where it finds them.
async fn programs(
    config: &Config,
    options: &Configured,
    controller: ControllerId,
) -> Result<(Spec, Vec<Finding>)> {
    let clock = Arc::new(SteadyClock::start());
    let mut forges = BTreeMap::new();
    for (name, scope) in &config.scopes {
        let wants = |pool: &PoolSpec| pool.scope == *name && pool.program().is_some();
        if !config.spec.pools.values().any(wants) {
            continue;
        }
        // One that can't be used is told with the scope.
        if let Ok(credential) = run::credential(name, scope.auth.as_ref(), options) {
            let clock: Arc<dyn dayfly_core::ports::Clock> = Arc::<SteadyClock>::clone(&clock);
            if let Ok(forge) = run::forge(name, scope, &credential, controller, clock) {
                forges.insert(name.clone(), Arc::new(forge));
            }
        }
    }
    let Some(mut keeper) = run::Keeper::open(config, &forges).await? else {
        return Ok((config.spec.clone(), Vec::new()));
    };
    keeper.refresh().await;
    let told = keeper.told().into_iter().map(|(scope, result)| Finding {
        what: format!("scope {scope}: the runner program"),
        result,
        exit_code: Code::Failed as u8,
    });
    Ok((keeper.spec(), told.collect()))
}

/// GitHub and the engines, all at once: each may take its time-out.
async fn outside(
    config: &Config,
    options: &Configured,
    controller: ControllerId,
) -> Result<Vec<Finding>> {
    let mut tasks: JoinSet<(usize, Vec<Finding>)> = JoinSet::new();
    let mut findings = Vec::new();
    let clock = Arc::new(SteadyClock::start());
    for (name, scope) in &config.scopes {
        let what = format!("scope {name}");
        let forge = run::credential(name, scope.auth.as_ref(), options).and_then(|credential| {
            let clock: Arc<dyn dayfly_core::ports::Clock> = Arc::<SteadyClock>::clone(&clock);
            run::forge(name, scope, &credential, controller, clock)
        });
        match forge {
            Ok(forge) => {
                let (groups, order) = (groups(config, name), tasks.len());
                let hears = run::webhook_scopes(config).any(|scope| scope == name);
                let (config, name) = (config.clone(), name.clone());
                tasks.spawn(async move {
                    let mut findings = of_scope(&what, &forge, groups).await;
                    if hears {
                        findings.extend(webhook::of_scope(&config, &name, &forge).await);
                    }
                    (order, findings)
                });
            }
            Err(failure) => findings.push(wrong(&what, &failure)),
        }
    }
    for (name, backend) in &config.backends {
        let what = format!("backend {name}");
        match run::backend(name, backend, config, controller) {
            Ok(backend) => {
                let pools = config.spec.pools.values();
                let made = pools.filter_map(|pool| {
                    let place = pool.place(name)?;
                    Some((pool.name.clone(), Arc::clone(&place.instance)))
                });
                let made = made.collect();
                let order = tasks.len();
                tasks
                    .spawn(async move { (order, of_backend(&what, backend.as_ref(), made).await) });
            }
            Err(failure) => findings.push(wrong(&what, &failure)),
        }
    }
    let mut told = tasks.join_all().await;
    told.sort_by_key(|(order, _)| *order);
    findings.extend(told.into_iter().flat_map(|(_, findings)| findings));
    Ok(findings)
}

/// The runner groups that a scope's pools are in.
fn groups(config: &Config, scope: &ScopeName) -> BTreeSet<String> {
    config
        .spec
        .pools
        .values()
        .filter(|pool| pool.scope == *scope)
        .map(|pool| pool.group.clone())
        .collect()
}

async fn of_scope(what: &str, forge: &dyn Forge, mut groups: BTreeSet<String>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    if groups.is_empty() {
        findings.push(in_order(what, "no pool is of it"));
        // Tried like any other, as for a pool that names no group.
        groups.insert(DEFAULT_GROUP.to_owned());
    }
    for group in &groups {
        for finding in forge.check(group).await {
            let finding = Finding { what: format!("{what}: {}", finding.what), ..finding };
            // The credential is the same for every group.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// What the pools make on a backend; whether it answers, where none does.
async fn of_backend(
    what: &str,
    backend: &dyn Backend,
    made: Vec<(PoolName, Arc<InstanceSpec>)>,
) -> Vec<Finding> {
    if made.is_empty() {
        // Nothing to make is no reason to say nothing: whether it can be asked at all is known from a list.
        let result = match backend.list().await {
            Ok(_) => Ok("no pool uses it; it answers".to_owned()),
            Err(error) => Err(format!("{error}; no pool uses it")),
        };
        let exit_code = Code::Backend as u8;
        return vec![Finding { what: what.to_owned(), result, exit_code }];
    }
    let mut findings: Vec<Finding> = Vec::new();
    for (pool, instance) in made {
        for finding in backend.check(&instance).await {
            let what = format!("{what}, pool {pool}: {}", finding.what);
            findings.push(Finding { what, ..finding });
        }
    }
    findings
}

fn in_order(what: &str, detail: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), result: Ok(detail.into()), exit_code: 0 }
}

fn wrong(what: &str, failure: &Failure) -> Finding {
    let text = match failure.remedy() {
        Some(remedy) => format!("{failure}; {remedy}"),
        None => failure.to_string(),
    };
    Finding { what: what.to_owned(), result: Err(text), exit_code: failure.code() as u8 }
}

fn code_of(code: u8) -> Code {
    let codes = [Code::Config, Code::Credential, Code::Backend, Code::Store];
    codes.into_iter().find(|known| *known as u8 == code).unwrap_or(Code::Failed)
}

fn print(findings: &[Finding], json: bool) -> Result<()> {
    if json {
        let document: Vec<_> = findings
            .iter()
            .map(|finding| {
                let (ok, detail) = match &finding.result {
                    Ok(detail) => (true, detail),
                    Err(detail) => (false, detail),
                };
                json!({ "what": finding.what, "ok": ok, "detail": detail, "exit_code": if ok { 0 } else { finding.exit_code } })
            })
            .collect();
        println!("{}", serde_json::to_string(&document).context("print the findings")?);
        return Ok(());
    }
    for finding in findings {
        match &finding.result {
            Ok(detail) => println!("ok     {}: {detail}", finding.what),
            Err(detail) => println!("WRONG  {}: {detail}", finding.what),
        }
    }
    Ok(())
}
