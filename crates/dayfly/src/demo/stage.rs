//! The demo's stage: simulator, daemon and engine, set up and taken down in order.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use dayfly_core::ports::Store;
use dayfly_store::Sqlite;

use super::{
    child::Child,
    daemon::Daemon,
    docker,
    place::{Making, POOL, Place, quoted},
    screen::Screen,
    simulator::{Simulator, State},
    summary::{Jobs, Leftover, Spread, Summary},
};
use crate::{
    arguments::{Configured, Demo, DemoBackend},
    failure::{Code, Failure},
    run,
};

const SIMULATOR_PATIENCE: Duration = Duration::from_secs(10);

/// Everything that the demo started. Its children end when it is dropped.
pub struct Stage {
    daemon: Daemon,
    simulator: Simulator,
    simulators_process: Child,
    /// The program as a step of a job calls it.
    program: String,
    making: Making,
    queued: u32,
    place: Place,
}

impl Stage {
    /// Makes everything ready, and last of all starts the daemon, which may make instances from then on.
    pub async fn set_up(place: Place, options: &Demo, screen: &mut Screen) -> Result<Self> {
        if options.warm > options.max {
            return Err(Failure::new(Code::Usage, "--warm is more than --max")
                .hint("warm instances count to --max")
                .into());
        }
        let program = std::env::current_exe().context("find this program's own file")?;
        let (making, listen, host) = choose(options, &place, &program, screen).await?;
        let inside = if making.backend == DemoBackend::Docker {
            Path::new("/usr/local/bin/dayfly")
        } else {
            &program
        };

        let (process, simulator) = simulate(&place, listen, host).await?;
        let token = format!("ghp_{}", hex(20)?);
        simulator.prepare(&token).await?;
        let token = place.write("token", 0o600, &token)?;
        let config = place.configuration(options, &simulator.scope_url(), &making)?;
        let daemon = Daemon::start(&place, &config, &token)?;
        Ok(Self {
            daemon,
            simulator,
            simulators_process: process,
            program: quoted(inside),
            making,
            queued: 0,
            place,
        })
    }

    /// Waits until the daemon is ready.
    pub async fn begin(&mut self, options: &Demo, screen: &mut Screen) -> Result<()> {
        self.daemon.until_session().await?;
        screen.say(&format!(
            "{} jobs of {} s on at most {} runners, {} kept warm; made by {} from {}",
            options.jobs,
            options.seconds_per_job,
            options.max,
            options.warm,
            self.making.backend.key(),
            self.making.image
        ));
        Ok(())
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.daemon.socket
    }

    /// Queues the jobs.
    pub async fn queue(&mut self, options: &Demo) -> Result<()> {
        let step = format!("{} runner-stub sleep {}", self.program, options.seconds_per_job);
        let step = (options.seconds_per_job > 0).then_some(step);
        self.simulator.queue(POOL, step.as_deref(), options.jobs).await?;
        self.queued = options.jobs;
        Ok(())
    }

    /// What the simulator holds; fails where a child has died.
    pub async fn look(&mut self) -> Result<State> {
        self.daemon.must_run()?;
        self.simulators_process.must_run()?;
        self.simulator.state().await
    }

    /// Deletes the pool, ends the daemon, counts what is left, and removes that too.
    pub async fn clean_up(&mut self, screen: &mut Screen) -> Result<Summary> {
        screen.finish();
        if let Err(error) = self.simulator.cancel_all().await {
            screen.say(&format!("the jobs could not be cancelled: {error:#}"));
        }
        let ended = self.end_daemon().await;
        // Whatever the simulator says: no instance stays.
        let left = sweep(&self.place).await;
        let state = self.simulator.state().await?;
        let waits = state
            .jobs
            .iter()
            .filter_map(|job| Some((job.started_at? - job.queued_at) * 1_000.0))
            .collect();
        let mut summary =
            Summary { jobs: Jobs::count(self.queued as usize, &state.jobs), ..Summary::default() };
        summary.ms.queued_to_started = Spread::of(waits);
        summary.runners = self.daemon.runners();
        let calls = self.simulator.daemon_calls().await?;
        summary.github_calls_per_job = calls as f64 / f64::from(self.queued.max(1));
        match ended {
            Ok((evidence_to_create, peak)) => {
                summary.ms.evidence_to_create = evidence_to_create;
                summary.rss_mib_peak = peak;
            }
            Err(error) => screen.say(&format!("the daemon did not end as it should: {error:#}")),
        }
        summary.leftover = Leftover {
            registrations: state.runners.len(),
            sessions: state.sessions.len(),
            ..left?
        };
        self.simulators_process.stop(SIMULATOR_PATIENCE).await?;
        Ok(summary)
    }

    /// What the daemon has to tell comes before its end.
    async fn end_daemon(&mut self) -> Result<(Spread, Option<f64>)> {
        let deleted = self.daemon.delete_pool().await;
        let told = self.daemon.evidence_to_create().await;
        let peak = self.daemon.memory_peak_mib();
        self.daemon.stop().await?;
        deleted?;
        Ok((told?, peak))
    }
}

/// Asks store and engine what a daemon that has ended left, and destroys the instances among it.
pub async fn sweep(place: &Place) -> Result<Leftover> {
    let options = Configured { config: place.config(), token: None };
    if !options.config.exists() {
        return Ok(Leftover::default());
    }
    let config = run::configuration(&options)?;
    if !config.store.exists() {
        return Ok(Leftover::default());
    }
    let mut store = Sqlite::open_read_only(&config.store)?;
    let counts = store.counts()?;
    let controller = store.load()?.controller;
    let mut instances = 0;
    for (name, backend) in &config.backends {
        let engine = run::backend(name, backend, &config, controller)?;
        for left in engine.list().await? {
            instances += 1;
            engine.destroy(&left.runner, true).await?;
        }
    }
    Ok(Leftover {
        instances,
        rows: counts.runners_not_gone + counts.open_duties,
        ..Leftover::default()
    })
}

/// What makes the instances, where the simulator listens, and by which host they reach it.
async fn choose(
    options: &Demo,
    place: &Place,
    program: &Path,
    screen: &mut Screen,
) -> Result<(Making, IpAddr, Option<&'static str>)> {
    let processes = || {
        let image = place.runner_program(program)?.display().to_string();
        Ok((Making { backend: DemoBackend::Process, image }, IpAddr::V4(Ipv4Addr::LOCALHOST), None))
    };
    if options.backend == Some(DemoBackend::Process) {
        return processes();
    }
    match docker::prepare(run::new_controller()?).await {
        Ok(docker::Prepared { image, listen, host }) => {
            Ok((Making { backend: DemoBackend::Docker, image }, listen, host))
        }
        Err(error) if options.backend == Some(DemoBackend::Docker) => {
            Err(Failure::new(Code::Backend, format!("the demo can't use Docker: {error:#}"))
                .hint("start Docker, or use --backend process")
                .into())
        }
        Err(error) => {
            screen.say(&format!("Docker can't be used here: {error:#}"));
            screen.say(
                "so the runners are plain processes, which are not isolated from this machine",
            );
            processes()
        }
    }
}

async fn simulate(place: &Place, listen: IpAddr, host: Option<&str>) -> Result<(Child, Simulator)> {
    let port_file = place.file("port");
    let command = |line: &mut tokio::process::Command| {
        line.args([
            "github-sim",
            "--listen",
            &std::net::SocketAddr::new(listen, 0).to_string(),
            "--port-file",
        ]);
        line.arg(&port_file);
    };
    let mut process = Child::start("the simulated GitHub", command, &place.file("simulator.log"))?;
    process.until(SIMULATOR_PATIENCE, || port_file.exists()).await?;
    let port = std::fs::read_to_string(&port_file)?
        .trim()
        .parse::<u16>()
        .context("the simulator's port")?;
    let simulator = Simulator::at(format!("http://{}", std::net::SocketAddr::new(listen, port)))?;
    if let Some(host) = host {
        simulator.runners_reach_it_at(&format!("http://{host}:{port}")).await?;
    }
    Ok((process, simulator))
}

fn hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).context("ask the system for randomness")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
