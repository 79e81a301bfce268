//! An LXD server for tests and benchmarks: one that answers, else one of this run's own.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{Daemon, run, wait_until},
    test::step::is_installed,
};

/// Where the package and the snap have their servers.
const DIRECTORIES: [&str; 2] = ["/var/lib/lxd", "/var/snap/lxd/common/lxd"];

/// How long a server may take from its start to its first answer, in seconds.
const START_S: u32 = 60;

/// How long it may take to stop its instances and its network.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// This machine in the network of its instances.
pub const GATEWAY: &str = "10.213.78.1";

/// A bridge and a network of the tests' own: instances reach the simulated GitHub by it.
const PRESEED: &str = r#"
config: { core.https_address: "127.0.0.1:18443" }
networks:
  - name: dayfly0
    type: bridge
    config: { ipv4.address: 10.213.78.1/24, ipv4.nat: "true", ipv6.address: none }
storage_pools: [{ name: default, driver: dir }]
profiles:
  - name: default
    devices:
      root: { type: disk, path: /, pool: default }
      eth0: { type: nic, name: eth0, network: dayfly0 }
"#;

/// A server that the tests may use.
#[derive(Debug)]
pub struct Lxd {
    directory: PathBuf,
    /// This run's own, with its files.
    own: Option<(Daemon, tempfile::TempDir)>,
}

impl Lxd {
    /// Finds one, or starts one; `log` is for its output.
    pub fn meet(is_root: bool, log: &Path) -> Result<Self> {
        let told = std::env::var_os("LXD_DIR").map(PathBuf::from);
        let known = DIRECTORIES.into_iter().map(PathBuf::from);
        for directory in told.into_iter().chain(known) {
            if UnixStream::connect(directory.join("unix.socket")).is_ok() {
                return Ok(Self { directory, own: None });
            }
        }
        if !is_root || !is_installed("lxd") {
            bail!("no LXD server answers, and only root can start one");
        }
        Self::start(log)
    }

    /// Starts one of this run's own; `log` is for its output.
    pub fn start(log: &Path) -> Result<Self> {
        // Sockets have short paths; instances need a way through every directory above their files.
        let home = tempfile::Builder::new().prefix("dayfly-lxd-").tempdir()?;
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
        let directory = home.path().join("lxd");
        fs::create_dir(&directory)?;
        if let Some(logs) = log.parent() {
            fs::create_dir_all(logs)?;
        }
        let mut command = Command::new("lxd");
        command.args(["--group", "lxd"]).env("LXD_DIR", &directory);
        let daemon = Daemon::start("lxd", &mut command, log)?;
        let lxd = Self { directory, own: Some((daemon, home)) };
        run(lxd.command("lxd").args(["waitready", "--timeout", &START_S.to_string()]))
            .with_context(|| format!("LXD does not answer; see {}", log.display()))?;
        let mut init = lxd
            .command("lxd")
            .args(["init", "--preseed"])
            .stdin(Stdio::piped())
            .spawn()
            .context("lxd init did not start")?;
        init.stdin.take().context("its input")?.write_all(PRESEED.as_bytes())?;
        if !init.wait()?.success() {
            bail!("lxd init --preseed failed");
        }
        Ok(lxd)
    }

    /// Where the server's socket is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// One of its own programs, which is told where it is.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LXD_DIR", &self.directory);
        command
    }
}

impl Drop for Lxd {
    /// The server's own way down, which takes instances and the network along; then what it leaves mounted.
    fn drop(&mut self) {
        let Some((mut daemon, home)) = self.own.take() else { return };
        let _ = self.command("lxd").args(["shutdown", "--timeout", "30"]).status();
        wait_until(STOP_PATIENCE, || !daemon.runs());
        drop(daemon);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount).starts_with(home.path()) {
                let _ = Command::new("umount").args(["--lazy", mount]).status();
            }
        }
        // An interface that is still there would be in the way of the next run.
        let _ = Command::new("ip").args(["link", "del", "dayfly0"]).output();
    }
}
