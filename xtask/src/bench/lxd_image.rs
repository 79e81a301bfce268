//! The images of the benchmarks on LXD: busybox alone, and a small Debian. Each has the program as its runner, the same
//! init, and a client of DHCP.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::rig::Bench;
use crate::{lxd::Lxd, process::run};

/// What busybox is in the image that has nothing else.
const PROGRAMS: [&str; 28] = [
    "sh", "sleep", "cat", "env", "head", "tail", "mkdir", "mkfifo", "mv", "rm", "setsid", "sync",
    "poweroff", "halt", "su", "id", "ls", "grep", "kill", "chmod", "touch", "tr", "tar", "gzip",
    "sed", "sort", "chown", "true",
];

/// The instance's first instruction writes down when it came: the file's own time.
pub const FIRST: &str = "first";

const INIT: &str = "#!/bin/sh\n: >/first\nexec /bin/init\n";

const INITTAB: &str = "::sysinit:/bin/busybox ip link set lo up\n::sysinit:/bin/busybox ip link set eth0 up\n\
    ::sysinit:/bin/busybox udhcpc -i eth0 -q -n -T 1 -t 20 -s /etc/lease\n";

/// What busybox's client of DHCP runs when it has an address.
const LEASE: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n\
    /bin/busybox ip addr add \"$ip/$mask\" dev \"$interface\"\n/bin/busybox ip route add default via \"$router\"\n";

const RUN: &str = "#!/bin/sh\nexec /bin/dayfly runner-stub run \"$@\"\n";

/// Gives a server the image of busybox.
pub fn busybox(bench: &Bench, lxd: &Lxd) -> Result<&'static str> {
    let home = tempfile::tempdir_in(&bench.disk)?;
    let root = home.path().join("rootfs");
    for directory in ["bin", "sbin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "var"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for name in PROGRAMS {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n")?;
    for library in libraries(&bench.program)? {
        let inside = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("a library's directory")?)?;
        fs::copy(&library, inside)?;
    }
    finish(bench, lxd, home.path(), "busybox")
}

/// Gives a server the image of Debian, which `debootstrap` makes once.
pub fn debian(bench: &Bench, lxd: &Lxd) -> Result<&'static str> {
    let made = bench.disk.join("debian");
    if !made.is_dir() {
        let unfinished = bench.disk.join("debian.unfinished");
        // An earlier one was interrupted.
        let _ = fs::remove_dir_all(&unfinished);
        run(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&unfinished))
            .context("make a Debian (root and the package debootstrap are needed)")?;
        run(Command::new("sh")
            .current_dir(&unfinished)
            .args(["-c", "rm -f var/cache/apt/archives/*.deb"]))?;
        fs::rename(&unfinished, &made)?;
    }
    let home = tempfile::tempdir_in(&bench.disk)?;
    run(Command::new("cp").arg("-a").arg(&made).arg(home.path().join("rootfs")))?;
    finish(bench, lxd, home.path(), "debian")
}

/// Adds what both have, and imports it.
fn finish(bench: &Bench, lxd: &Lxd, home: &Path, alias: &'static str) -> Result<&'static str> {
    let root = home.join("rootfs");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
    let busybox = busybox.into_iter().find(|path| path.exists());
    fs::copy(busybox.context("the package busybox-static is needed")?, root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/init"))?;
    let program = root.join("bin/dayfly");
    run(Command::new("strip").arg("-o").arg(&program).arg(&bench.program))?;
    fs::create_dir_all(root.join("home/runner"))?;
    let scripts = [("sbin/init", INIT), ("etc/lease", LEASE), ("home/runner/run.sh", RUN)];
    for (path, text) in scripts.into_iter().chain([("etc/inittab", INITTAB)]) {
        fs::write(root.join(path), text)?;
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755))?;
    }
    let metadata = format!(
        "architecture: {}\ncreation_date: 1700000000\nproperties: {{ os: {alias} }}\n",
        std::env::consts::ARCH
    );
    fs::write(home.join("metadata.yaml"), metadata)?;
    let archive = home.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(home).args(["--numeric-owner", "-cf"]).arg(&archive);
    run(tar.args(["metadata.yaml", "rootfs"]))?;
    let mut import = lxd.command("lxc");
    run(import.args(["image", "import", "--quiet", "--alias", alias]).arg(&archive))?;
    Ok(alias)
}

/// What `ldd` lists for the program: the loader and the libraries.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    ensure!(output.status.success(), "ldd: {output:?}");
    let text = String::from_utf8(output.stdout)?;
    let places = text.lines().map(|line| line.split_once("=>").map_or(line, |(_, place)| place));
    let paths = places.filter_map(|place| place.trim().rsplit_once(" (0x").map(|(path, _)| path));
    Ok(paths.filter(|path| path.starts_with('/')).map(PathBuf::from).collect())
}
