//! An engine of a test's own, which can be killed without harm to others: its network name space is its own too.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::model::{ControllerId, InstanceSpec};
use tempfile::TempDir;

/// How long a daemon may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Private {
    home: TempDir,
    containerd: Child,
    dockerd: Option<Child>,
}

impl Private {
    /// Starts containerd and dockerd; containers outlive a dockerd that is killed.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        let containerd = Command::new("containerd")
            .args([
                "--root",
                &path("containerd"),
                "--state",
                &path("state"),
                "--address",
                &path("containerd.sock"),
            ])
            .stdin(Stdio::null())
            .stdout(fs::File::create(home.path().join("containerd.log")).unwrap())
            .stderr(fs::File::create(home.path().join("containerd.err")).unwrap())
            .spawn()
            .unwrap();
        let mut private = Self { home, containerd, dockerd: None };
        private.wait_for("containerd.sock");
        private.begin();
        private
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn wait_for(&self, name: &str) {
        #[expect(clippy::disallowed_methods, reason = "a test has no port to ask")]
        let began = Instant::now();
        while !self.path(name).exists() {
            assert!(began.elapsed() < PATIENCE, "{name} did not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts dockerd.
    pub fn begin(&mut self) {
        let path = |name: &str| self.path(name).display().to_string();
        let log =
            fs::OpenOptions::new().create(true).append(true).open(path("dockerd.log")).unwrap();
        let dockerd = Command::new("unshare")
            .args([
                "-n",
                "dockerd",
                "--live-restore",
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
            ])
            .args([
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
                "--pidfile",
                &path("pid"),
            ])
            .args([
                "--containerd",
                &path("containerd.sock"),
                "-H",
                &format!("unix://{}", path("docker.sock")),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.dockerd = Some(dockerd);
        self.wait_for("docker.sock");
        #[expect(clippy::disallowed_methods, reason = "a test has no port to ask")]
        let began = Instant::now();
        while !self.cli(&["version"]).status.success() {
            let log = fs::read_to_string(self.path("dockerd.log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "dockerd does not answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9` of dockerd; containers and containerd stay.
    pub fn kill(&mut self) {
        let mut dockerd = self.dockerd.take().unwrap();
        dockerd.kill().unwrap();
        dockerd.wait().unwrap();
        // As the kernel leaves it after a crash: a socket that nobody answers on.
        fs::remove_file(self.path("pid")).unwrap();
    }

    pub fn connect(&self, controller: ControllerId) -> Docker {
        let host = Some(format!("unix://{}", self.path("docker.sock").display()));
        Docker::connect(&DockerOptions { host, ..DockerOptions::default() }, controller).unwrap()
    }

    fn cli(&self, arguments: &[&str]) -> std::process::Output {
        let host = format!("unix://{}", self.path("docker.sock").display());
        Command::new("docker").args(["-H", &host]).args(arguments).output().unwrap()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let left = self.cli(&["ps", "-aq"]);
        for id in String::from_utf8_lossy(&left.stdout).split_whitespace() {
            self.cli(&["rm", "-fv", id]);
        }
        for child in self.dockerd.iter_mut().chain([&mut self.containerd]) {
            // SIGTERM, so that both take down what they mounted.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        // What dockerd mounts on itself stays where it was killed.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let home = self.home.path().display().to_string();
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(&home) {
                let _ = Command::new("umount").args(["-l", mount]).status();
            }
        }
    }
}

/// An instance for an engine without a network.
pub fn alone(spec: InstanceSpec) -> InstanceSpec {
    InstanceSpec { network: Some("none".to_owned()), ..spec }
}
