//! `dayfly run`: the daemon, from its configuration to its end.

mod ids;
mod intake;
mod log;
mod ports;
mod programs;
mod secrets;
mod signals;

use std::{path::Path, pin::pin, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use dayfly_config::Config;
use dayfly_core::ports::{Forge, Store};
use dayfly_engine::{Handle, Ports, SteadyClock, StoreDriver};
use dayfly_server::Socket;
use dayfly_store::Sqlite;
use dayfly_telemetry::EventLog;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{ids::RandomIds, intake::Endpoint, secrets::credentials};
pub use self::{
    ids::new_controller,
    intake::{options as intake_options, webhook_scopes},
    ports::{backend, controllers, forge, lxd_untrusted},
    programs::Keeper,
    secrets::{credential, unreadable},
    signals::Signals,
};
use crate::{
    arguments::{Configured, Run},
    failure::{Code, Failure},
};

/// Runs until a signal, and ends in order.
pub fn run(options: &Run, socket: &Path, json: bool) -> Result<()> {
    let _log = log::start(json)?;
    let config = configuration(&options.configured)?;
    for warning in &config.warnings {
        warn!("{}: {}", warning.message, warning.remedy);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the threads")?;
    let outcome = runtime.block_on(serve(options, &config, socket));
    // Calls that outlive their patience are abandoned: the next start settles them.
    runtime.shutdown_background();
    outcome
}

/// Reads the configuration file of a command.
pub fn configuration(options: &Configured) -> Result<Config, Failure> {
    read(&options.config)
}

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<Config, Failure> {
    dayfly_config::load(path).map_err(|errors| Failure::rendered(Code::Config, errors))
}

/// Opens the store for this process alone.
pub fn store(config: &Config) -> Result<Sqlite> {
    let store = Sqlite::open(&config.store, new_controller()?);
    Ok(store.map_err(|error| Failure::new(Code::Store, error))?)
}

async fn serve(options: &Run, config: &Config, socket: &Path) -> Result<()> {
    let mut signals = Signals::listen()?;
    let credentials = credentials(config, &options.configured)?;
    let mut store = store(config)?;
    let stored = store.load().map_err(|error| Failure::new(Code::Store, error))?;
    let controller = stored.controller;
    let clock = Arc::new(SteadyClock::start());
    let forges = ports::forges(config, &credentials, controller, &clock)?;
    // Before anything begins: an address that is taken is the user's to mend.
    let endpoint = intake::open(config, &forges).await?;
    let programs = Keeper::open(config, &forges).await?;
    let spec = programs.as_ref().map_or_else(|| config.spec.clone(), Keeper::spec);
    let as_ports = forges.into_iter().map(|(name, forge)| (name, forge as Arc<dyn Forge>));
    let ports = Ports {
        forges: as_ports.collect(),
        backends: ports::backends(config, controller)?,
        store: Box::new(store),
        store_driver: StoreDriver::Thread,
        clock,
        ids: Box::new(RandomIds::begin()?),
        events: Arc::new(events(options)?),
    };
    drop(credentials);
    let socket =
        Socket::open(socket).map_err(|error| Failure::new(Code::Failed, format_chain(&error)))?;
    info!(%controller, socket = %socket.path().display(), pools = config.spec.pools.len(), "dayfly runs");

    let engine = dayfly_engine::start(Arc::new(spec), stored, ports);
    let handle = engine.handle();
    let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
    let mut server = tasks.spawn(dayfly_server::serve(socket, handle.clone(), ending.clone()));
    let mut endpoint = tasks.spawn(face(endpoint, handle.clone(), ending.clone()));
    let mut programs = tasks.spawn(look_after(programs, handle.clone(), ending.clone()));
    let ended = pin!(engine.ended());
    let outcome = tokio::select! {
        outcome = ended => outcome.map_err(anyhow::Error::from),
        _ = &mut server => Err(anyhow!("the API's task ended unasked; running instances are left as they are")),
        _ = &mut endpoint => Err(anyhow!("the endpoint's task ended unasked; running instances are left as they are")),
        _ = &mut programs => Err(anyhow!("the task that keeps the runner program ended unasked; running instances are left as they are")),
        outcome = obey(&mut signals, &handle, options.drain) => outcome,
    };
    ending.cancel();
    tasks.close();
    tasks.wait().await;
    outcome?;
    info!("dayfly has ended");
    Ok(())
}

/// Serves the HTTP endpoint, where there is one, until `ending`.
async fn face(endpoint: Option<Endpoint>, handle: Handle, ending: CancellationToken) {
    let Some(Endpoint { intake, addresses }) = endpoint else { return ending.cancelled().await };
    let served = dayfly_server::serve_intake(intake, handle, ending.clone());
    match addresses {
        Some(addresses) => drop(tokio::join!(served, addresses.keep(ending))),
        None => served.await,
    }
}

/// Keeps the runner programs new, where a pool wants one, until `ending`.
async fn look_after(programs: Option<Keeper>, handle: Handle, ending: CancellationToken) {
    match programs {
        Some(programs) => programs.keep(handle, ending).await,
        None => ending.cancelled().await,
    }
}

/// Waits for signals and passes them on. Ends only where the daemon is to end at once.
async fn obey(signals: &mut Signals, handle: &Handle, drain: bool) -> Result<()> {
    let signal = signals.next().await;
    info!(signal, drain, "ending: no more jobs are taken; a second signal ends at once");
    let stopped = if drain { handle.drain_all().await } else { handle.stop().await };
    if let Err(error) = stopped {
        warn!("{}", format_chain(&error));
    }
    let signal = signals.next().await;
    handle.end_now();
    bail!("ended at once by a second {signal}; the next start settles what is left")
}

fn events(options: &Run) -> Result<EventLog> {
    let log = match &options.events {
        Some(path) => EventLog::append_to(path),
        None => EventLog::new(std::io::sink()),
    };
    Ok(log.map_err(|error| Failure::new(Code::Failed, format_chain(&error)))?)
}

fn format_chain(error: &dyn std::error::Error) -> String {
    dayfly_telemetry::Chain(error).to_string()
}
