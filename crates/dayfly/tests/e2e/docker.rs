//! Real containers: the daemon dies, the engine dies, and no job is lost.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use dayfly_core::model::ControllerId;
use rustix::process::{Signal, kill_process};

use crate::{
    processes::{DAYFLY, Process, pid, wait_until, working_in},
    site::{Making, Setup, Site},
};

/// Jobs of a run; `cargo xtask e2e --jobs N` sets another number.
fn jobs() -> usize {
    std::env::var("DAYFLY_E2E_JOBS").map_or(30, |number| number.parse().unwrap())
}

/// The engine that is there, as the `docker` program would find it.
pub fn engine() -> PathBuf {
    let host =
        std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    PathBuf::from(host.strip_prefix("unix://").expect("the tests need an engine on a unix socket"))
}

/// The demo's image of the program under test, known to the engine: the demo makes it.
pub fn image() -> String {
    let mut demo = Command::new(DAYFLY);
    demo.args([
        "demo",
        "--backend",
        "docker",
        "--jobs",
        "1",
        "--max",
        "1",
        "--seconds-per-job",
        "0",
        "--once",
    ]);
    let output = demo.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let at = text.find("dayfly-demo:").unwrap();
    text[at..].split_whitespace().next().unwrap().to_owned()
}

/// The ids of a controller's containers, or what the engine said instead.
pub fn containers(socket: &Path, controller: ControllerId) -> Result<Vec<String>, String> {
    let output = Command::new("docker")
        .args(["--host", &format!("unix://{}", socket.display())])
        .args(["ps", "--all", "--quiet", "--filter"])
        .arg(format!("label=dev.dayfly.controller={controller}"))
        .output()
        .map_err(|error| error.to_string())?;
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(words(&output.stderr));
    }
    Ok(words(&output.stdout).lines().map(str::to_owned).collect())
}

/// Every job had a container of its own.
async fn each_its_own(site: &Site) {
    let state = site.github.get("state").await;
    let jobs = state["jobs"].as_array().unwrap();
    let runners: BTreeSet<&str> =
        jobs.iter().map(|job| job["runner_name"].as_str().unwrap()).collect();
    assert_eq!(runners.len(), jobs.len());
    assert!(
        jobs.iter().all(|job| job["attempt"] == 1 && job["rounds"] == 1),
        "no job was given twice"
    );
    let times = |name: &str| jobs.iter().map(|job| job[name].as_f64().unwrap()).collect::<Vec<_>>();
    let queued = times("queued_at").into_iter().fold(f64::INFINITY, f64::min);
    let completed = times("completed_at").into_iter().fold(0.0, f64::max);
    println!("{} jobs, each in a container of its own, in {:.0} s", jobs.len(), completed - queued);
}

/// The daemon is killed three times while jobs run.
async fn the_daemon_dies_three_times(assignment: &'static str, app: bool, scope: &'static str) {
    let jobs = jobs();
    let making = Making::Docker { image: image(), socket: engine() };
    let mut site =
        Site::new(Setup { making, max: 5, assignment, app, scope, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("/usr/local/bin/dayfly runner-stub sleep 1"), jobs).await;
    for done in [jobs / 6, jobs / 3, jobs / 2] {
        site.github
            .until("some jobs", async |github| github.jobs("success").await >= done as u64)
            .await;
        site.crash();
        site.start();
    }
    site.github.until_jobs("success", jobs).await;
    each_its_own(&site).await;
    site.end_clean().await;
}

// Each pair of assignment mode, credential and scope once; all eight run with processes, in `assignment`.

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_daemon_dies_and_no_job_is_lost_given_token_organisation() {
    the_daemon_dies_three_times("auto", false, "acme").await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_daemon_dies_and_no_job_is_lost_given_app_repository() {
    the_daemon_dies_three_times("auto", true, "acme/site").await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_daemon_dies_and_no_job_is_lost_acquired_token_repository() {
    the_daemon_dies_three_times("acquire", false, "acme/site").await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_daemon_dies_and_no_job_is_lost_acquired_app_organisation() {
    the_daemon_dies_three_times("acquire", true, "acme").await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_engine_dies_twice_and_no_job_is_lost() {
    let jobs = jobs();
    let mut engine = PrivateEngine::start(&image());
    let making = Making::Docker { image: engine.image.clone(), socket: engine.socket() };
    let mut site = Site::new(Setup { making, max: 5, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("/usr/local/bin/dayfly runner-stub sleep 1"), jobs).await;
    for done in [jobs / 4, jobs / 2] {
        site.github
            .until("some jobs", async |github| github.jobs("success").await >= done as u64)
            .await;
        engine.crash();
        std::thread::sleep(std::time::Duration::from_secs(1));
        engine.start_dockerd();
    }
    site.github.until_jobs("success", jobs).await;
    each_its_own(&site).await;
    site.end_clean().await;
}

/// An engine that a test may kill: a dockerd and a containerd of its own, which lets containers outlive dockerd.
pub struct PrivateEngine {
    directory: tempfile::TempDir,
    containerd: Option<Process>,
    dockerd: Option<Process>,
    bridge: String,
    /// The image that it has.
    pub image: String,
    starts: u32,
}

impl PrivateEngine {
    /// Starts it, and gives it an image of the machine's engine.
    pub fn start(image: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("dayfly-engine-").tempdir().unwrap();
        let bridge = format!("df{}", std::process::id());
        let mut engine = Self {
            directory,
            containerd: None,
            dockerd: None,
            bridge,
            image: image.to_owned(),
            starts: 0,
        };
        // A dockerd without a bridge of its own would take that of the machine's other dockerd away.
        engine.ip(&["link", "add", &engine.bridge, "type", "bridge"]);
        engine.ip(&["addr", "add", "10.213.77.1/24", "dev", &engine.bridge]);
        engine.ip(&["link", "set", &engine.bridge, "up"]);
        let mut containerd = Command::new("containerd");
        containerd.arg("--address").arg(engine.path("containerd.sock"));
        containerd
            .arg("--root")
            .arg(engine.path("containerd"))
            .arg("--state")
            .arg(engine.path("state"));
        containerd.args(["--config", "/dev/null"]);
        engine.containerd = Some(Process::start(&mut containerd, &engine.path("containerd.log")));
        wait_until("containerd", || engine.path("containerd.sock").exists());
        engine.start_dockerd();
        let host = format!("unix://{}", engine.socket().display());
        let copy = format!("docker save {image} | docker --host {host} load");
        let output = Command::new("sh").args(["-c", &copy]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        engine
    }

    /// Starts its dockerd.
    pub fn start_dockerd(&mut self) {
        self.starts += 1;
        let mut dockerd = Command::new("dockerd");
        dockerd.arg("--containerd").arg(self.path("containerd.sock")).arg("--live-restore");
        dockerd.arg("--data-root").arg(self.path("data")).arg("--exec-root").arg(self.path("exec"));
        dockerd
            .arg("--pidfile")
            .arg(self.path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()));
        dockerd.args(["--iptables=false", "--ip-forward=false", "--bridge", &self.bridge]);
        self.dockerd =
            Some(Process::start(&mut dockerd, &self.path(&format!("dockerd-{}.log", self.starts))));
        let socket = self.socket();
        wait_until("dockerd", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    /// `kill -9` of its dockerd.
    pub fn crash(&mut self) {
        self.dockerd.take().unwrap().crash();
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ip(&self, words: &[&str]) {
        let output = Command::new("ip").args(words).output().unwrap();
        assert!(
            output.status.success(),
            "ip {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        for daemon in [self.dockerd.take(), self.containerd.take()].into_iter().flatten() {
            daemon.signal(Signal::TERM);
            // It unmounts what it mounted; what it does not is seen to below.
            let mut daemon = daemon;
            for _ in 0..100 {
                if daemon.ended().is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        for id in working_in(self.directory.path()) {
            let _ = kill_process(pid(id), Signal::KILL);
        }
        for mount in mounts_below(self.directory.path()) {
            let _ = Command::new("umount").arg("--lazy").arg(mount).output();
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).output();
    }
}

/// The mounts below a directory, the deepest first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    below.sort();
    below.reverse();
    below
}
