//! A server of a test's own, which may be killed.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use dayfly_backends::lxd::Product;

/// The product that is tried: LXD, or, where `INCUS_DIR` is told, Incus.
pub fn tried() -> Product {
    if env::var_os("INCUS_DIR").is_some() { Product::Incus } else { Product::Lxd }
}

/// What a product's programs are called, and how they are told where its server is.
#[derive(Debug, Clone, Copy)]
pub struct Programs {
    /// The variable that holds the server's directory.
    pub directory: &'static str,
    /// Asks the server.
    pub client: &'static str,
    /// The server itself: where Debian has it.
    daemon: [&'static str; 3],
    /// Prepares the server, and ends it.
    admin: &'static [&'static str],
}

impl Programs {
    pub const fn of(product: Product) -> Self {
        match product {
            Product::Lxd => Self {
                directory: "LXD_DIR",
                client: "lxc",
                daemon: ["lxd", "--group", "lxd"],
                admin: &["lxd"],
            },
            Product::Incus => Self {
                directory: "INCUS_DIR",
                client: "incus",
                daemon: ["/usr/libexec/incus/incusd", "--group", "incus-admin"],
                admin: &["incus", "admin"],
            },
        }
    }
}

/// How often it is looked whether it has ended by itself, and how long in between: a minute in all.
const END_LOOKS_MAX: u32 = 3_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Shows a program the interfaces of its own network, and the groups of processes that there are.
const OWN_SYS: &str = "mount --rbind /sys/fs/cgroup /mnt && mount -t sysfs sysfs /sys && \
    mount --rbind /mnt /sys/fs/cgroup && umount --lazy /mnt && exec \"$0\" \"$@\"";

/// The words by which a server runs in a network namespace, as on a machine of its own.
pub fn within(namespace: &str) -> Vec<String> {
    let net = format!("--net=/run/netns/{namespace}");
    let words = ["nsenter", &net, "unshare", "--mount", "--propagation", "slave"];
    words.into_iter().chain(["sh", "-c", OWN_SYS]).map(str::to_owned).collect()
}

/// The server, its instances and its files; all of it goes with this.
pub struct Private {
    home: tempfile::TempDir,
    before: Vec<String>,
    programs: Programs,
    daemon: Option<Child>,
}

impl Private {
    /// Starts it behind the words of another program, such as one that enters a network's namespace, and prepares it.
    pub fn start(before: &[impl AsRef<str>], preseed: &str) -> Self {
        Self::start_of(tried(), before, preseed)
    }

    /// The same of either product.
    pub fn start_of(product: Product, before: &[impl AsRef<str>], preseed: &str) -> Self {
        // Sockets have short paths; instances need a way through every directory above their files.
        let home = tempfile::Builder::new().prefix("dayfly-lxd-").tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::create_dir(home.path().join("lxd")).unwrap();
        let before = before.iter().map(|word| word.as_ref().to_owned()).collect();
        let programs = Programs::of(product);
        let mut server = Self { home, before, programs, daemon: None };
        server.start_again();
        let mut init = server.behind(&[programs.admin, &["init", "--preseed"]].concat());
        let mut init = init.stdin(Stdio::piped()).spawn().unwrap();
        init.stdin.take().unwrap().write_all(preseed.as_bytes()).unwrap();
        assert!(init.wait().unwrap().success(), "init: {}", server.log());
        server
    }

    /// Starts its process, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.begin(), "it does not answer: {}", self.log());
    }

    fn begin(&mut self) -> bool {
        assert!(self.daemon.is_none());
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let daemon = self.programs.daemon;
        let mut command = self.behind(&daemon);
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let ready = self.command(daemon[0]).args(["waitready", "--timeout", "60"]).status();
        ready.is_ok_and(|status| status.success())
    }

    /// `kill -9` of its process. Its instances run on.
    pub fn crash(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Where its socket is.
    pub fn directory(&self) -> PathBuf {
        self.home.path().join("lxd")
    }

    /// The processes that name its directory.
    fn left(&self) -> Vec<String> {
        let home = self.home.path().display().to_string();
        let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().into_string().ok());
        ids.filter(|id| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&home)
        })
        .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Another program's words come first.
    fn behind(&self, words: &[&str]) -> Command {
        let mut words = self.before.iter().map(String::as_str).chain(words.iter().copied());
        let mut command = self.command(words.next().unwrap());
        command.args(words);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env(self.programs.directory, self.directory());
        command
    }
}

impl Drop for Private {
    /// Its own way down, which takes the instances along; then what it leaves.
    fn drop(&mut self) {
        if self.daemon.is_some() || self.begin() {
            let (program, words) = self.programs.admin.split_first().unwrap();
            let mut command = self.command(program);
            let _ = command.args(words).args(["shutdown", "--timeout", "30"]).status();
        }
        if let Some(mut daemon) = self.daemon.take() {
            let mut looks = 0;
            while matches!(daemon.try_wait(), Ok(None)) && looks < END_LOOKS_MAX {
                looks += 1;
                std::thread::sleep(BETWEEN_LOOKS);
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // The keepers of its instances, where it did not end them, and of its network.
        for id in self.left() {
            let _ = Command::new("kill").args(["-9", &id]).status();
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount).starts_with(self.home.path()) {
                let _ = Command::new("umount").args(["--lazy", mount]).status();
            }
        }
    }
}
