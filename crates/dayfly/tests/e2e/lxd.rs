//! Real LXD: a job in a system container of its own, and a daemon that dies while jobs run.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use dayfly_core::model::ControllerId;

use crate::{
    processes::DAYFLY,
    site::{Making, Setup, Site},
};

/// What the image has beside busybox itself.
const PROGRAMS: [&str; 24] = [
    "sh", "sleep", "cat", "env", "head", "tail", "mkdir", "mkfifo", "mv", "rm", "setsid", "sync",
    "poweroff", "halt", "su", "id", "ls", "grep", "ip", "udhcpc", "kill", "chmod", "touch", "tr",
];

/// What busybox's client of DHCP runs when it has an address.
const LEASE: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n\
    /bin/ip addr add \"$ip/$mask\" dev \"$interface\"\n/bin/ip route add default via \"$router\"\n";

const INIT: &str = "::sysinit:/bin/ip link set lo up\n::sysinit:/bin/ip link set eth0 up\n\
    ::sysinit:/bin/udhcpc -i eth0 -q -n -T 1 -t 20 -s /etc/lease\n";

/// Asks the server as its own program does.
fn lxc(words: &[&str]) -> String {
    let output = Command::new("lxc").args(words).output().unwrap();
    assert!(output.status.success(), "lxc {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names of a controller's instances.
pub fn instances(controller: ControllerId) -> Vec<String> {
    let tag = format!("user.dayfly.controller={controller}");
    lxc(&["list", "--format", "csv", "--columns", "n", &tag]).lines().map(str::to_owned).collect()
}

/// This machine's address on the network that instances are in.
pub fn gateway() -> String {
    let network = lxc(&["profile", "device", "get", "default", "eth0", "network"]);
    let address = lxc(&["network", "get", network.trim(), "ipv4.address"]);
    address.split('/').next().unwrap().trim().to_owned()
}

/// An image with the program under test as GitHub's runner; it goes with this.
struct Image {
    alias: String,
}

impl Image {
    fn pack() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("rootfs");
        for directory in
            ["bin", "sbin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "home/runner", "var"]
        {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = busybox.into_iter().find(|path| path.exists());
        fs::copy(
            busybox.expect("busybox-static is needed for this test"),
            root.join("bin/busybox"),
        )
        .unwrap();
        for name in PROGRAMS {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        symlink("../bin/busybox", root.join("sbin/init")).unwrap();
        let write = |path: &str, text: &str, mode: u32| {
            fs::write(root.join(path), text).unwrap();
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        write("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644);
        write("etc/inittab", INIT, 0o644);
        write("etc/lease", LEASE, 0o755);
        write("home/runner/run.sh", "#!/bin/sh\nexec /bin/dayfly runner-stub run \"$@\"\n", 0o755);
        // Without what a debugger reads, which is most of it.
        let program = root.join("bin/dayfly");
        let stripped = Command::new("strip").arg("-o").arg(&program).arg(DAYFLY).status();
        if !stripped.is_ok_and(|status| status.success()) {
            fs::copy(DAYFLY, &program).unwrap();
        }
        for library in libraries() {
            let inside = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(inside.parent().unwrap()).unwrap();
            fs::copy(&library, inside).unwrap();
        }
        let metadata = format!(
            "architecture: {}\ncreation_date: 1700000000\nproperties: {{ os: busybox }}\n",
            std::env::consts::ARCH
        );
        fs::write(home.path().join("metadata.yaml"), metadata).unwrap();
        let archive = home.path().join("image.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(home.path())
            .args(["--owner=0", "--group=0", "-cf"])
            .arg(&archive)
            .args(["metadata.yaml", "rootfs"])
            .output()
            .unwrap();
        assert!(tar.status.success(), "{tar:?}");
        let alias = format!("dayfly-e2e-{}", std::process::id());
        lxc(&["image", "import", &archive.display().to_string(), "--alias", &alias]);
        Self { alias }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("lxc").args(["image", "delete", &self.alias]).output();
    }
}

/// What `ldd` lists for the program under test: the loader and the libraries.
fn libraries() -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").arg(DAYFLY).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let places = text.lines().map(|line| line.split_once("=>").map_or(line, |(_, place)| place));
    let paths = places.filter_map(|place| place.trim().rsplit_once(" (0x").map(|(path, _)| path));
    paths.filter(|path| path.starts_with('/')).map(PathBuf::from).collect()
}

/// One after the other in one test: the image is large, and LXD copies it for each instance.
#[tokio::test]
#[ignore = "needs lxd"]
async fn jobs_run_in_instances_of_their_own_and_survive_the_daemon() {
    let image = Image::pack();
    let making = Making::Lxd { image: image.alias.clone() };
    let mut site = Site::new(Setup { making, max: 3, ..Setup::default() }).await;
    let check = site.run(&["check", "--config", site.path("dayfly.yaml").to_str().unwrap()]);
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(told.contains("it started, took a registration and ended"), "{told}");
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 1"), 6).await;
    site.github.until("some jobs", async |github| github.jobs("success").await >= 2).await;
    site.crash();
    site.start();
    site.github.until_jobs("success", 6).await;
    let state = site.github.get("state").await;
    let jobs = state["jobs"].as_array().unwrap();
    let runners: BTreeSet<&str> =
        jobs.iter().map(|job| job["runner_name"].as_str().unwrap()).collect();
    assert_eq!(runners.len(), jobs.len(), "each job had an instance of its own");
    assert!(jobs.iter().all(|job| job["attempt"] == 1 && job["rounds"] == 1), "none ran twice");
    site.end_clean().await;
}
