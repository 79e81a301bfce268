//! What the tests need of the machine. As root on Debian it is installed and started; elsewhere what is there is used.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::step::is_installed;
use crate::{
    lxd::Lxd,
    metadata::root,
    process::{Daemon, run, wait_until},
};

/// Debian packages: programs that show each is there, and the package's name.
const PACKAGES: [(&str, &str); 14] = [
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
    ("pgrep", "procps"),
    ("openssl", "openssl"),
    ("strace", "strace"),
    ("lxd", "lxd"),
    ("lxc", "lxd-client"),
    ("dnsmasq", "dnsmasq-base"),
    ("nft", "nftables"),
    ("unsquashfs", "squashfs-tools"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
];

/// Incus's server, where Debian has it. The tests start it.
const INCUSD: &str = "/usr/libexec/incus/incusd";

/// How long a Docker daemon may take from its start to its first answer.
const DOCKERD_PATIENCE: Duration = Duration::from_secs(60);

/// What was met, and what was started for it. Dropping it ends what was started.
#[derive(Debug)]
pub struct Needs {
    /// A Docker daemon that this run started.
    dockerd: Option<Daemon>,
    /// Its files.
    directory: Option<tempfile::TempDir>,
    /// The socket on which a Docker daemon answers.
    docker: Option<PathBuf>,
    /// An LXD server.
    lxd: Option<Lxd>,
    /// Where GitHub's published descriptions lie.
    schemas: Option<PathBuf>,
    /// What is missing, in words.
    missing: Vec<String>,
}

impl Needs {
    /// Installs and starts what it may, and notes what is missing.
    pub fn meet(target: &Path) -> Result<Self> {
        let mut needs = Self {
            dockerd: None,
            directory: None,
            docker: None,
            lxd: None,
            schemas: None,
            missing: Vec::new(),
        };
        let may_install = is_root() && Path::new("/etc/debian_version").exists();
        if may_install && let Err(error) = install() {
            needs.missing.push(format!("packages: {error:#}"));
        }
        if may_install && let Err(error) = install_incus() {
            needs.missing.push(format!("incus: {error:#}"));
        }
        let absent = absent().map(|(program, _)| program).collect::<Vec<_>>();
        if !absent.is_empty() {
            needs.missing.push(format!("programs: {}", absent.join(", ")));
        }
        if !Path::new(INCUSD).exists() {
            needs.missing.push(format!("program: {INCUSD}"));
        }
        if let Err(error) = needs.find_docker(target) {
            needs.missing.push(format!("docker: {error:#}"));
        }
        match Lxd::meet(is_root(), &target.join("xtask").join("lxd.log")) {
            Ok(lxd) => needs.lxd = Some(lxd),
            Err(error) => needs.missing.push(format!("lxd: {error:#}")),
        }
        match fetch_schemas(target) {
            Ok(schemas) => needs.schemas = Some(schemas),
            Err(error) => needs.missing.push(format!("GitHub's schemas: {error:#}")),
        }
        Ok(needs)
    }

    /// Whether no test need be skipped.
    pub fn all_met(&self) -> bool {
        self.missing.is_empty()
    }

    /// Prints what is missing; takes the needs, so that what was started ends here.
    pub fn report(self) -> Self {
        for missing in &self.missing {
            println!("skipped for want of {missing}");
        }
        self
    }

    /// Tells a command where the engine and GitHub's descriptions are.
    pub fn tell(&self, command: &mut Command) {
        if let Some(socket) = &self.docker {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        }
        if let Some(lxd) = &self.lxd {
            command.env("LXD_DIR", lxd.directory());
        }
        if let Some(schemas) = &self.schemas {
            command.env("DAYFLY_GITHUB_SCHEMAS", schemas);
        }
    }

    fn find_docker(&mut self, target: &Path) -> Result<()> {
        let socket = std::env::var("DOCKER_HOST")
            .ok()
            .and_then(|host| host.strip_prefix("unix://").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/var/run/docker.sock"));
        if UnixStream::connect(&socket).is_ok() {
            self.docker = Some(socket);
            return Ok(());
        }
        if !is_root() || !is_installed("dockerd") {
            bail!("no Docker daemon answers on {}, and only root can start one", socket.display());
        }
        // Sockets have short paths: they lie apart from the data, which belongs to the build's own directory.
        let directory = tempfile::Builder::new().prefix("dayfly-test-").tempdir()?;
        let socket = directory.path().join("docker.sock");
        let data = target.join("xtask").join("docker");
        std::fs::create_dir_all(&data)?;
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(directory.path().join("exec"))
            .arg("--pidfile")
            .arg(directory.path().join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", socket.display()));
        let log = target.join("xtask").join("dockerd.log");
        let mut dockerd = Daemon::start("dockerd", &mut command, &log)?;
        if !wait_until(DOCKERD_PATIENCE, || UnixStream::connect(&socket).is_ok() || !dockerd.runs())
            || !dockerd.runs()
        {
            bail!("dockerd does not answer; see {}", log.display());
        }
        self.dockerd = Some(dockerd);
        self.directory = Some(directory);
        self.docker = Some(socket);
        Ok(())
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The packages whose programs are not there.
fn absent() -> impl Iterator<Item = (&'static str, &'static str)> {
    PACKAGES.into_iter().filter(|(program, _)| !is_installed(program))
}

/// Installs the packages whose programs are not there.
fn install() -> Result<()> {
    let missing: Vec<&str> = absent().map(|(_, package)| package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt(&missing, &[])
}

/// Installs Incus, which Debian 12 has in its backports alone. They are heeded for this, and for nothing else; what is
/// installed is not replaced by anything of theirs.
fn install_incus() -> Result<()> {
    if Path::new(INCUSD).exists() {
        return Ok(());
    }
    let release = std::fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.context("/etc/os-release does not tell Debian's codename")?;
    let known = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let list = directory.path().join("sources.list");
    let backports = format!("deb http://deb.debian.org/debian {codename}-backports main\n");
    std::fs::write(&list, format!("{known}\n{backports}"))?;
    let sources = format!("Dir::Etc::SourceList={}", list.display());
    apt(&["incus-base", "incus-client"], &["-o", &sources])
}

/// Installs packages.
fn apt(packages: &[&str], options: &[&str]) -> Result<()> {
    println!("== installing {}", packages.join(", "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(options);
        command
    };
    run(apt().args(["update", "-qq"]))?;
    run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}

/// Fetches GitHub's published descriptions, against which the simulator's answers are validated.
fn fetch_schemas(target: &Path) -> Result<PathBuf> {
    let script = root().join("crates/github-sim/tests/fetch-schemas.sh");
    let schemas = target.join("xtask").join("github-schemas");
    run(Command::new("sh").arg(&script).arg(&schemas).current_dir(root()))
        .context("they are fetched by npm")?;
    Ok(schemas)
}
