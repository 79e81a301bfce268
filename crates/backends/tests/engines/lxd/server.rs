//! The server of the tests, and the image that they make for it.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use dayfly_backends::lxd::{Lxd, LxdOptions, Product};
use dayfly_core::{
    model::{ControllerId, InstanceSpec},
    ports::{Backend, BackendErrorKind, CreateRequest},
};

use super::lxd_private::{Programs, tried};
use crate::suite::{RUNNER, controller, pool, record, runner};

/// The image of the tests: busybox alone, as PID 1 too.
pub const IMAGE: &str = "dayfly-test-busybox-3";

/// What the image has beside busybox itself.
const PROGRAMS: [&str; 28] = [
    "sh", "sleep", "cat", "env", "head", "dd", "tail", "mkdir", "mkfifo", "mv", "rm", "setsid",
    "sync", "poweroff", "halt", "su", "id", "ls", "grep", "tr", "touch", "kill", "cp", "tar",
    "gzip", "sed", "sort", "chown",
];

pub fn connect(controller: ControllerId) -> Lxd {
    let options = LxdOptions { product: tried(), ..LxdOptions::default() };
    Lxd::connect(&options, controller).unwrap()
}

/// Runs a test and then removes the instances of its controllers, also where it failed.
#[derive(Default)]
pub struct Sweep {
    controllers: RefCell<Vec<ControllerId>>,
    project: Option<String>,
}

impl Sweep {
    /// For instances of a project of the test's own.
    pub fn within(project: &str) -> Self {
        Self { controllers: RefCell::default(), project: Some(project.to_owned()) }
    }

    /// A backend whose instances are removed at the end.
    pub fn connect(&self, controller: ControllerId) -> Lxd {
        self.note(controller);
        connect(controller)
    }

    /// A controller whose instances are removed at the end.
    pub fn note(&self, controller: ControllerId) {
        self.controllers.borrow_mut().push(controller);
    }

    /// A backend of a new controller, with the test image.
    pub fn ready(&self) -> Lxd {
        image(&Lxc::default());
        self.connect(controller())
    }

    fn instances(&self, controller: ControllerId) -> String {
        let project = self.project.as_deref().unwrap_or("default");
        let tag = format!("user.dayfly.controller={controller}");
        let words = ["list", "--project", project, "--format", "csv", "--columns", "n", &tag];
        String::from_utf8_lossy(&Lxc::default().run(&words).stdout).into()
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        let project = self.project.clone().unwrap_or_else(|| "default".to_owned());
        for controller in self.controllers.take() {
            let left = self.instances(controller);
            for name in left.split_whitespace() {
                // It may be stopping by itself, and LXD then refuses.
                for _ in 0..50 {
                    let words = ["delete", "--project", &project, "--force", name];
                    if Lxc::default().run(&words).status.success() {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(200));
                }
            }
            if !left.is_empty() && !std::thread::panicking() {
                panic!("instances were left behind: {left}");
            }
        }
    }
}

/// A server's own program: `lxc`, or `incus`.
#[derive(Debug, Clone)]
pub struct Lxc {
    pub product: Product,
    /// Where the server is; `None`: the one that all tests share.
    pub directory: Option<PathBuf>,
}

impl Default for Lxc {
    fn default() -> Self {
        Self { product: tried(), directory: None }
    }
}

impl Lxc {
    /// Asks the server, which must not refuse.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{} {arguments:?}: {}",
            Programs::of(self.product).client,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks the server.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let programs = Programs::of(self.product);
        let mut command = Command::new(programs.client);
        if let Some(directory) = &self.directory {
            command.env(programs.directory, directory);
        }
        command.args(arguments).output().unwrap()
    }
}

/// Asks the server that all tests share.
pub fn cli(arguments: &[&str]) -> String {
    Lxc::default().ask(arguments)
}

/// Makes the image unless the server has it.
pub fn image(lxc: &Lxc) {
    let has_image = || lxc.ask(&["image", "list", "--format", "csv", "--columns", "l"]);
    let is_there = || has_image().lines().any(|alias| alias == IMAGE);
    if is_there() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("image.tar.gz");
    pack(home.path(), &archive);
    let archive = archive.display().to_string();
    let output = lxc.run(&["image", "import", &archive, "--alias", IMAGE]);
    // Another test may be making it: the server has the image first, and its alias a moment later.
    for _ in 0..100 {
        if is_there() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{output:?}");
}

/// An image of LXD's: a root file system beside what it is said to be.
fn pack(home: &Path, archive: &Path) {
    let root = home.join("rootfs");
    for directory in
        ["bin", "sbin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "home/runner", "var"]
    {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    fs::copy(busybox.expect("busybox-static is needed for this test"), root.join("bin/busybox"))
        .unwrap();
    for name in PROGRAMS {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    symlink("../bin/busybox", root.join("sbin/init")).unwrap();
    let passwd = "root:x:0:0::/root:/bin/sh\nrunner:x:1001:1001::/home/runner:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nrunner:x:1001:\n").unwrap();
    fs::write(root.join("etc/inittab"), "::sysinit:/bin/sleep 0\n").unwrap();
    let metadata = format!(
        "architecture: {}\ncreation_date: 1700000000\nproperties: {{ os: busybox }}\n",
        std::env::consts::ARCH
    );
    fs::write(home.join("metadata.yaml"), metadata).unwrap();
    let tar = Command::new("tar")
        .arg("-C")
        .arg(home)
        .args(["--owner=0", "--group=0", "-czf"])
        .arg(archive)
        .args(["metadata.yaml", "rootfs"])
        .output()
        .unwrap();
    assert!(tar.status.success(), "{tar:?}");
}

/// An instance of the test image that runs a shell script. It has no network, and so waits for none.
pub fn shell(script: &str) -> InstanceSpec {
    InstanceSpec {
        image: IMAGE.to_owned(),
        network: Some("none".to_owned()),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..InstanceSpec::default()
    }
}

/// An instance that keeps the contract suite's script.
pub fn contract() -> InstanceSpec {
    shell(RUNNER)
}

/// Has a server refuse an instance: with that kind, in words among which are these, whatever their case, and nothing is left of it.
pub async fn refused(lxd: &Lxd, spec: InstanceSpec, kind: BackendErrorKind, words: &str) {
    let (runner, pool) = (runner(lxd.controller()), pool());
    let request = CreateRequest { runner: &runner, pool: &pool, spec: &spec };
    let error = lxd.create(request).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.detail.to_lowercase().contains(&words.to_lowercase()), "{error}");
    assert_eq!(record(lxd, &runner).await, None, "nothing is left of it");
}
