//! Putting the runner program in, on roots of several systems with stand-ins for their package tools.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::guest::PROVISION;

/// Every shell that an image is likely to have; each must be on the machine that runs the tests.
const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// What every image has beside its package tool.
const PROGRAMS: [&str; 9] = ["sh", "tar", "gzip", "mkdir", "rm", "sed", "sort", "tail", "sleep"];

/// Installs what it is asked for into the root, and notes what that was.
const TOOL: &str = r#"
echo "${0##*/} $*" >>"$LOG"
[ ! -e "$LOG.broken" ] || { echo "E: no network"; exit 100; }
for word; do
  case $word in
  libicu72 | icu-libs | libicu) : >"$ROOT/usr/lib/libicuuc.so.72" ;;
  libssl3 | openssl-libs) : >"$ROOT/usr/lib/libssl.so.3" ;;
  libkrb5-3 | krb5-libs) : >"$ROOT/usr/lib/libkrb5.so.3" ;;
  zlib1g | zlib) : >"$ROOT/usr/lib/libz.so.1" ;;
  libstdc++6 | libstdc++) : >"$ROOT/usr/lib/libstdc++.so.6" ;;
  ca-certificates) echo some >"$ROOT/etc/ssl/certs/ca-certificates.crt" ;;
  esac
done
"#;

/// As `apt-cache search` answers: the newest is not the first.
const SEARCH: &str = "printf '%s\\n' 'libicu72 - a library' 'libicu67 - a library'";

const LISTENER: &str = "[ \"$1\" = --version ] && echo 2.330.0";

struct Root {
    home: tempfile::TempDir,
    archive: PathBuf,
}

fn script(file: &Path, text: &str) {
    fs::write(file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Root {
    fn new(release: &str, tools: &[&str], listener: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        for directory in ["bin", "root/usr/lib", "root/etc/ssl/certs", "files/bin"] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        for name in PROGRAMS {
            let places = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(name));
            let real = places.iter().find(|place| place.exists()).unwrap();
            symlink(real, path("bin").join(name)).unwrap();
        }
        for tool in tools {
            script(&path("bin").join(tool), if *tool == "apt-cache" { SEARCH } else { TOOL });
        }
        fs::write(path("root/etc/os-release"), release).unwrap();
        script(&path("files/run.sh"), "exit 0");
        script(&path("files/bin/Runner.Listener"), listener);
        let archive = path("program.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(path("files")).arg("-czf").arg(&archive).args(["run.sh", "bin"]);
        assert!(tar.status().unwrap().success());
        Self { home, archive }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Whether it came to a good end, what it said, and what the package tools were asked.
    fn provision(&self, shell: &[&str]) -> (bool, String, String) {
        let shell_path = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(shell[0]));
        let shell_path = shell_path.iter().find(|place| place.exists());
        let output = Command::new(shell_path.expect("this shell is needed for this test"))
            .args(&shell[1..])
            .args(["-c", PROVISION, "provision"])
            .args([&self.archive, &self.path("opt/dayfly/runner"), &self.path("root")])
            .env_clear()
            .envs([("PATH", self.path("bin")), ("ROOT", self.path("root"))])
            .envs([("LOG", self.path("log"))])
            .env("DAYFLY_PAUSE", "0")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let asked = fs::read_to_string(self.path("log")).unwrap_or_default();
        (output.status.success(), String::from_utf8(said).unwrap(), asked)
    }
}

#[test]
fn what_an_image_lacks_is_installed_by_its_own_tool() {
    let check = |release: &str, tools: &[&str], expected: &[&str]| {
        for shell in SHELLS {
            let root = Root::new(release, tools, LISTENER);
            let (good, said, asked) = root.provision(shell);
            assert!(good, "{shell:?} {release}: {said}");
            assert!(said.contains("dayfly: the runner program is 2.330.0"), "{said}");
            for words in expected {
                assert!(asked.contains(words), "{shell:?} {release}: {words}: {asked}");
            }
            assert!(root.path("opt/dayfly/runner/run.sh").exists() && !root.archive.exists());
        }
    };
    let apt = ["apt-get", "apt-cache"];
    let debian = "install --no-install-recommends libicu72 libssl3 libkrb5-3 zlib1g libstdc++6 ca-certificates";
    check("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", &apt, &[debian, "update\n"]);
    check("ID=ubuntu\nID_LIKE=debian\n", &apt, &[debian]);
    check("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", &apt, &[debian]);
    let alpine = "add icu-libs libssl3 krb5-libs zlib libstdc++ ca-certificates gcompat";
    check("ID=alpine\n", &["apk"], &[alpine, "apk update\n"]);
    let fedora = "install -y libicu openssl-libs krb5-libs zlib libstdc++ ca-certificates";
    check("ID=fedora\n", &["dnf", "yum"], &[&format!("dnf {fedora}")]);
    let like = "ID='rocky'\nID_LIKE='rhel centos fedora'\n";
    check(like, &["microdnf"], &[&format!("microdnf {fedora}")]);
    check("ID=\"centos\"\n", &["yum"], &[&format!("yum {fedora}")]);
}

#[test]
fn what_is_there_is_not_installed_and_what_can_not_be_is_said() {
    let check = |root: &dyn Fn() -> Root, good: bool, words: &[&str], calls: usize| {
        for shell in SHELLS {
            // Busybox brings its own `tar`.
            if words == ["the image has no tar"] && shell[0] == "busybox" {
                continue;
            }
            let (was_good, said, asked) = root().provision(shell);
            assert_eq!(was_good, good, "{shell:?}: {said}");
            for words in words {
                assert!(said.contains(words), "{shell:?}: {words}: {said}");
            }
            assert_eq!(asked.lines().count(), calls, "{shell:?}: {asked}");
        }
    };
    let debian =
        || Root::new("ID=debian\nPRETTY_NAME='Debian 12'", &["apt-get", "apt-cache"], LISTENER);
    let full = || {
        let root = debian();
        for library in
            ["libicuuc.so.72", "libssl.so.3", "libkrb5.so.3", "libz.so.1", "libstdc++.so.6"]
        {
            fs::create_dir_all(root.path("root/usr/lib/x86_64-linux-gnu")).unwrap();
            fs::write(root.path("root/usr/lib/x86_64-linux-gnu").join(library), "").unwrap();
        }
        fs::write(root.path("root/etc/ssl/certs/ca-certificates.crt"), "some").unwrap();
        root
    };
    check(&full, true, &["2.330.0"], 0);
    let some = || {
        let root = full();
        fs::remove_file(root.path("root/usr/lib/x86_64-linux-gnu/libkrb5.so.3")).unwrap();
        root
    };
    check(&some, true, &["the image lacks libkrb5: apt-get installs libkrb5-3"], 2);
    let broken = || {
        let root = debian();
        fs::write(root.path("log.broken"), "").unwrap();
        root
    };
    let words =
        ["the image (Debian 12) lacks libicuuc", "apt-get could not install it", "E: no network"];
    check(&broken, false, &words, 3);
    // Nobody knows better than the program itself.
    let other = || Root::new("ID=arch\n", &["pacman"], LISTENER);
    check(&other, true, &["seems to lack libicuuc", "no package tool that dayfly knows"], 0);
    let bare = || Root::new("ID=debian\n", &[], LISTENER);
    check(&bare, true, &["no package tool that dayfly knows"], 0);
    let dead = || Root::new("", &[], "echo 'Process terminated. No valid ICU package.'; exit 134");
    let words =
        ["does not start: Process terminated", "lacks libicuuc libssl", "an unknown system"];
    check(&dead, false, &words, 0);
    let no_tar = || {
        let root = debian();
        fs::remove_file(root.path("bin/tar")).unwrap();
        root
    };
    check(&no_tar, false, &["the image has no tar"], 0);
    let cut = || {
        let root = debian();
        let whole = fs::read(&root.archive).unwrap();
        fs::write(&root.archive, &whole[..whole.len() / 2]).unwrap();
        root
    };
    check(&cut, false, &["could not be unpacked"], 0);
}
