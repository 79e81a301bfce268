//! What a benchmark runs on: the simulator, the load and the daemon, each in a process of its own, started and ended here.

use std::{
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
}

impl Pool {
    /// A pool on the load's `noop` backend.
    pub fn noop(max: usize) -> Self {
        Self { backend: String::new(), image: "none".to_owned(), more: String::new(), max }
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
    http: reqwest::Client,
    config: PathBuf,
    starts: u32,
    /// The store's directory.
    pub disk: TempDir,
    sockets: TempDir,
}

impl Rig {
    /// Starts everything, and waits for the daemon's session. The simulator listens on `address`.
    pub async fn start(bench: &Bench, address: &str, pool: &Pool) -> Result<Self> {
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
        let config = disk.path().join("dayfly.yaml");
        let base = simulator.base();
        let Pool { image, more, max, .. } = pool;
        let store = disk.path().join("dayfly.db");
        let text = format!(
            "github: [{{ url: {base}/{organisation} }}]\nbackends: {{ it: {{ {backend} }} }}\npools:\n  - name: bench\n    \
             labels: [bench]\n    demand: scale-set\n    backends: [it]\n    image: {image}\n    max: {max}\n{more}store: {{ sqlite: {store} }}\n",
            organisation = super::simulator::ORGANISATION,
            store = store.display(),
        );
        std::fs::write(&config, text)?;
        write_secret(&disk.path().join("token"), TOKEN)?;
        let http = reqwest::Client::builder()
            .unix_socket(sockets.path().join("dayfly.sock"))
            .timeout(START_PATIENCE)
            .build()?;
        let program = bench.program.clone();
        let mut rig =
            Self { program, daemon: None, simulator, load, http, config, starts: 0, disk, sockets };
        rig.start_daemon()?;
        rig.simulator
            .until("the daemon's session", START_PATIENCE, |counts| counts.sessions == 1)
            .await?;
        Ok(rig)
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

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    Ok(())
}
