//! What a benchmark runs on: the simulator, the load and the daemon, each in a process of its own, started and ended here.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    load::Load,
    simulator::{Simulator, TOKEN},
};
use crate::{
    metadata::{Metadata, root},
    process::{Daemon, run, wait_until},
};

/// What the webhooks of a benchmark are signed with.
pub const WEBHOOK_SECRET: &str = "benchbenchbenchbenchbenchbenchbench";

/// How long the daemon may take from its start to its session.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The release build, and a place on the disk that the build lies on.
pub struct Bench {
    /// The program.
    pub program: PathBuf,
    /// Where stores are kept: a disk file system, never memory.
    pub disk: PathBuf,
}

impl Bench {
    /// Builds the release program.
    pub fn prepare() -> Result<Self> {
        run(Command::new("cargo")
            .args(["build", "--release", "--quiet", "--package", "dayfly"])
            .current_dir(root()))?;
        let target = Metadata::load()?.target_directory;
        let disk = target.join("xtask").join("bench");
        std::fs::create_dir_all(&disk)?;
        Ok(Self { program: target.join("release").join("dayfly"), disk })
    }
}

/// A pool's part of the configuration.
pub struct Pool {
    /// The backend, in the configuration's words: `docker: {}`.
    pub backend: String,
    /// The image.
    pub image: String,
    /// Further lines of the pool.
    pub more: String,
    /// Its `max`.
    pub max: usize,
    /// Whether it hears webhooks, and has no scale set.
    pub webhook: bool,
}

impl Pool {
    /// A pool on the load's `noop` backend.
    pub fn noop(max: usize) -> Self {
        Self {
            backend: String::new(),
            image: "none".to_owned(),
            more: String::new(),
            max,
            webhook: false,
        }
    }

    /// The same for jobs that webhooks tell of.
    pub fn by_webhook(max: usize) -> Self {
        Self { webhook: true, ..Self::noop(max) }
    }
}

/// The processes of a run.
pub struct Rig {
    program: PathBuf,
    daemon: Option<Daemon>,
    /// The simulator.
    pub simulator: Simulator,
    /// The load.
    pub load: Load,
    /// The load of a second backend, where there is one.
    _beside: Option<Load>,
    http: reqwest::Client,
    config: PathBuf,
    /// The address that webhooks come to, where the pool hears them.
    pub webhook_address: Option<SocketAddr>,
    starts: u32,
    /// The store's directory.
    pub disk: TempDir,
    sockets: TempDir,
}

impl Rig {
    /// Starts everything, and waits for the daemon's session. The simulator listens on `address`.
    pub async fn start(bench: &Bench, address: &str, pool: &Pool) -> Result<Self> {
        Self::start_with(bench, address, pool, None).await
    }

    /// The same beside a second pool `sick` on a backend of its own. If it is `sick` that hangs on every call, and is the first
    /// backend of the pool that is measured too.
    pub async fn start_beside(bench: &Bench, pool: &Pool, sick: bool) -> Result<Self> {
        Self::start_with(bench, "127.0.0.1", pool, Some(sick)).await
    }

    async fn start_with(
        bench: &Bench,
        address: &str,
        pool: &Pool,
        beside: Option<bool>,
    ) -> Result<Self> {
        let disk = tempfile::Builder::new().prefix("run-").tempdir_in(&bench.disk)?;
        // The paths of sockets are short.
        let sockets = tempfile::Builder::new().prefix("dayfly-bench-").tempdir()?;
        let simulator = Simulator::start(&bench.program, address, disk.path()).await?;
        let load_socket = sockets.path().join("load.sock");
        let load = Load::start(&bench.program, &load_socket, &disk.path().join("load.log"))?;
        let backend = match pool.backend.as_str() {
            "" => format!("noop: {{ socket: {} }}", load_socket.display()),
            backend => backend.to_owned(),
        };
        let (mut second_backend, mut second_pool, mut second_load) =
            (String::new(), String::new(), None);
        if let Some(sick) = beside {
            let socket = sockets.path().join("beside.sock");
            let load = Load::start(&bench.program, &socket, &disk.path().join("beside.log"))?;
            if sick {
                load.freeze()?;
            }
            second_load = Some(load);
            second_backend = format!(", beside: {{ noop: {{ socket: {} }} }}", socket.display());
            second_pool = "  - { name: sick, labels: [sick], demand: webhook, backends: [beside], image: none, max: 10 }\n".to_owned();
        }
        let config = disk.path().join("dayfly.yaml");
        let base = simulator.base();
        let Pool { image, more, max, webhook, .. } = pool;
        let store = disk.path().join("dayfly.db");
        let backends = if beside == Some(true) { "beside, it" } else { "it" };
        let demand = if *webhook { "webhook" } else { "scale-set" };
        let listen = if *webhook { Some(free_address()?) } else { None };
        let server = listen.map_or_else(String::new, |listen| {
            let secret = disk.path().join("webhook");
            format!(
                "server: {{ listen: \"{listen}\", webhook_secret: \"file:{}\", webhook_url: \"http://{listen}/webhook\" }}\n",
                secret.display()
            )
        });
        let text = format!(
            "github: [{{ url: {base}/{organisation} }}]\nbackends: {{ it: {{ {backend} }}{second_backend} }}\npools:\n  - name: bench\n    \
             labels: [bench]\n    demand: {demand}\n    backends: [{backends}]\n    image: {image}\n    max: {max}\n{more}{second_pool}store: {{ sqlite: {store} }}\n{server}",
            organisation = super::simulator::ORGANISATION,
            store = store.display(),
        );
        std::fs::write(&config, text)?;
        write_secret(&disk.path().join("token"), TOKEN)?;
        write_secret(&disk.path().join("webhook"), WEBHOOK_SECRET)?;
        let http = reqwest::Client::builder()
            .unix_socket(sockets.path().join("dayfly.sock"))
            .timeout(START_PATIENCE)
            .build()?;
        let program = bench.program.clone();
        let mut rig = Self {
            program,
            daemon: None,
            simulator,
            load,
            _beside: second_load,
            http,
            config,
            webhook_address: listen,
            starts: 0,
            disk,
            sockets,
        };
        if listen.is_some() {
            rig.install_webhook()?;
        }
        rig.start_daemon()?;
        if let Some(listen) = listen {
            rig.until_it_listens(listen).await?;
        } else {
            rig.simulator
                .until("the daemon's session", START_PATIENCE, |counts| counts.sessions == 1)
                .await?;
        }
        Ok(rig)
    }

    /// Makes the webhook as a user does.
    fn install_webhook(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["webhook", "install", "--json", "--config"]).arg(&self.config);
        command.arg("--token").arg(format!("file:{}", self.disk.path().join("token").display()));
        let output = command.output().context("dayfly webhook install")?;
        ensure!(
            output.status.success(),
            "dayfly webhook install: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Waits until webhooks are taken, and the first job has run: by then GitHub has told what a pool needs to know.
    async fn until_it_listens(&self, listen: SocketAddr) -> Result<()> {
        let url = format!("http://{listen}/readyz");
        let ready = async {
            while !reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_PATIENCE, ready)
            .await
            .context("the daemon takes no webhooks")?;
        self.simulator.queue("bench", &[], 1).await?;
        self.simulator
            .until("the first job", START_PATIENCE, |counts| {
                counts.jobs("success") == 1 && counts.registrations() == 0
            })
            .await
    }

    /// Starts the daemon; does not wait for it.
    pub fn start_daemon(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the daemon runs already");
        self.starts += 1;
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(&self.config);
        command.arg("--socket").arg(self.sockets.path().join("dayfly.sock"));
        command.arg("--token").arg(format!("file:{}", self.disk.path().join("token").display()));
        let log = self.disk.path().join(format!("daemon-{}.log", self.starts));
        self.daemon = Some(Daemon::start("dayfly run", &mut command, &log)?);
        Ok(())
    }

    /// Deletes the pool and waits until none of its instances is left: containers outlive the daemon.
    pub async fn finish(self) -> Result<()> {
        let answer = self
            .http
            .delete("http://dayfly/v1/pools/bench")
            .send()
            .await
            .context("delete the pool")?;
        answer.error_for_status()?;
        self.until_phases(0, "gone", START_PATIENCE).await
    }

    /// Queued → first step, in seconds, of jobs on real instances; the mean of all.
    pub async fn job(&self, at_once: usize, patience: Duration) -> Result<f64> {
        let before = self.simulator.state().await?.jobs.len();
        self.simulator.queue("bench", &[":"], at_once).await?;
        let all = (before + at_once) as u64;
        self.simulator.until("jobs", patience, |counts| counts.jobs("success") == all).await?;
        let jobs = self.simulator.state().await?.jobs;
        let mut sum = 0.0;
        for job in &jobs[before..] {
            sum += job.first_step_at.context("a job without a first step")? - job.queued_at;
        }
        Ok(sum / at_once as f64)
    }

    /// Kills the daemon.
    pub fn crash_daemon(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon runs")?.crash()
    }

    /// What the daemon says of itself.
    pub async fn status(&self) -> Result<Value> {
        let answer =
            self.http.get("http://dayfly/v1/status").send().await.context("ask the daemon")?;
        answer.error_for_status()?.json().await.context("the daemon's status")
    }

    /// The daemon's runners.
    pub async fn runners(&self) -> Result<Vec<Value>> {
        let answer =
            self.http.get("http://dayfly/v1/runners").send().await.context("ask the daemon")?;
        answer.error_for_status()?.json().await.context("the daemon's runners")
    }

    /// Waits until there are `count` runners, all in `phase`.
    pub async fn until_phases(&self, count: usize, phase: &str, patience: Duration) -> Result<()> {
        let wait = async {
            loop {
                let runners = self.runners().await?;
                if runners.len() == count && runners.iter().all(|runner| runner["phase"] == phase) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "no {count} runners {phase} within {} s: {:?}",
                patience.as_secs(),
                self.runners().await?
            ),
        }
    }

    /// The daemon's resident memory, in MiB.
    pub fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// The processor time that the daemon used so far, in seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(self.proc("task")?)? {
            // A thread that ended since the listing took nothing of note with it.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            nanoseconds +=
                text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(nanoseconds / 1e9)
    }

    /// Waits until the load has seen `count` create calls.
    pub fn until_created(&mut self, count: u64, patience: Duration) -> Result<super::load::Report> {
        let mut report = self.load.report()?;
        let seen = wait_until(patience, || {
            if let Ok(newer) = self.load.report() {
                report = newer;
            }
            report.creates >= count
        });
        ensure!(seen, "{} of {count} create calls within {} s", report.creates, patience.as_secs());
        Ok(report)
    }

    fn proc(&self, file: &str) -> Result<PathBuf> {
        let id = self.daemon.as_ref().context("no daemon runs")?.id();
        Ok(Path::new("/proc").join(id.to_string()).join(file))
    }
}

/// An address of this machine that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    Ok(())
}
