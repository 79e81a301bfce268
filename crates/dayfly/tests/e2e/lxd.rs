//! Real LXD: each job in a system container of its own, while the daemon and the server die.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use dayfly_backends::lxd::Product;
use dayfly_core::model::ControllerId;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    github::GitHub,
    lxd_private::{Private, Programs, tried},
    processes::DAYFLY,
    site::{Making, Setup, Site},
    webhooks,
};

/// What the image has beside busybox itself.
const PROGRAMS: [&str; 29] = [
    "sh", "sleep", "cat", "env", "head", "tail", "mkdir", "mkfifo", "mv", "rm", "setsid", "sync",
    "poweroff", "halt", "su", "id", "ls", "grep", "ip", "udhcpc", "kill", "chmod", "touch", "tr",
    "tar", "gzip", "sed", "sort", "chown",
];

/// What busybox's client of DHCP runs when it has an address.
const LEASE: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n\
    /bin/ip addr add \"$ip/$mask\" dev \"$interface\"\n/bin/ip route add default via \"$router\"\n";

const INIT: &str = "::sysinit:/bin/ip link set lo up\n::sysinit:/bin/ip link set eth0 up\n\
    ::sysinit:/bin/udhcpc -i eth0 -q -n -T 1 -t 20 -s /etc/lease\n";

/// What stands in for GitHub's runner program.
const RUN: &str = "#!/bin/sh\nexec /bin/dayfly runner-stub run \"$@\"\n";

/// An archive of it, as GitHub packs its own.
fn archive(version: &str) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("bin")).unwrap();
    let listener = format!("#!/bin/sh\necho {version}\n");
    for (name, text) in [("run.sh", RUN), ("bin/Runner.Listener", &listener)] {
        fs::write(home.path().join(name), text).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(home.path().join(name), mode).unwrap();
    }
    let mut tar = Command::new("tar");
    let output =
        tar.arg("-C").arg(home.path()).args(["-czf", "-", "run.sh", "bin"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The bridge and the network of a server that a test may kill.
pub const PRESEED: &str = r#"
networks:
  - name: dayfly1
    type: bridge
    config: { ipv4.address: 10.213.79.1/24, ipv4.nat: "true", ipv6.address: none }
storage_pools: [{ name: default, driver: dir }]
profiles:
  - name: default
    devices:
      root: { type: disk, path: /, pool: default }
      eth0: { type: nic, name: eth0, network: dayfly1 }
"#;

/// What a server that was killed leaves of its network: the bridge of [`PRESEED`], or that of a second one, and the
/// interfaces of instances that ended while it was away.
#[derive(Default)]
pub struct Network(Vec<String>);

impl Network {
    /// Notes the interfaces that instances have now.
    pub fn note(&mut self, server: &Server) {
        let instances = server.ask(&["query", "/1.0/instances?recursion=1"]);
        let instances: Vec<Value> = serde_json::from_str(&instances).unwrap();
        let names = instances.iter().map(|known| &known["config"]["volatile.eth0.host_name"]);
        self.0.extend(names.filter_map(Value::as_str).map(str::to_owned));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.0.iter().map(String::as_str).chain(["dayfly1", "dayfly2"]) {
            let _ = Command::new("ip").args(["link", "del", name]).output();
        }
    }
}

/// Jobs of a run in which the server is killed; `DAYFLY_E2E_JOBS` sets another number.
fn jobs() -> usize {
    std::env::var("DAYFLY_E2E_JOBS").map_or(20, |number| number.parse().unwrap())
}

/// A server of LXD or Incus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub product: Product,
    /// Where it is; `None`: the one that all tests share.
    pub directory: Option<PathBuf>,
    /// This machine's address for its instances; `None`: that on their bridge.
    pub host: Option<&'static str>,
    /// The member of a cluster.
    pub member: Option<&'static str>,
}

impl Default for Server {
    fn default() -> Self {
        Self { product: tried(), directory: None, host: None, member: None }
    }
}

impl Server {
    /// Asks it as its own program does.
    pub fn run(&self, words: &[&str]) -> Output {
        let programs = Programs::of(self.product);
        let mut command = Command::new(programs.client);
        if let Some(directory) = &self.directory {
            command.env(programs.directory, directory);
        }
        command.args(words).output().unwrap()
    }

    fn ask(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names of all instances, whoever's they are.
    pub fn names(&self) -> String {
        self.ask(&["list", "--format", "csv", "--columns", "n"])
    }

    /// The names of a controller's instances.
    pub fn instances(&self, controller: ControllerId) -> Vec<String> {
        let tag = format!("user.dayfly.controller={controller}");
        let listed = self.ask(&["list", "--format", "csv", "--columns", "n", &tag]);
        listed.lines().map(str::to_owned).collect()
    }

    /// The same by another member of its cluster.
    pub fn on(self, member: &'static str) -> Self {
        Self { member: Some(member), ..self }
    }

    /// This machine's address on the network that instances are in.
    pub fn gateway(&self) -> String {
        if let Some(host) = self.host {
            return host.to_owned();
        }
        let network = self.ask(&["profile", "device", "get", "default", "eth0", "network"]);
        let address = self.ask(&["network", "get", network.trim(), "ipv4.address"]);
        address.split('/').next().unwrap().trim().to_owned()
    }

    /// A backend.
    pub fn settings(&self) -> String {
        let product = match self.product {
            Product::Lxd => "lxd",
            Product::Incus => "incus",
        };
        let socket = |directory: &PathBuf| directory.join("unix.socket").display().to_string();
        let socket = self.directory.as_ref().map(socket);
        let socket = socket.map(|socket| format!("socket: {socket}"));
        let member = self.member.map(|member| format!("target: {member}"));
        let settings: Vec<String> = socket.into_iter().chain(member).collect();
        format!("{product}: {{ {} }}", settings.join(", "))
    }
}

/// An image with the program under test as GitHub's runner; it goes with this.
pub struct Image {
    server: Server,
    pub alias: String,
}

impl Image {
    pub fn pack(server: &Server, has_runner: bool) -> Self {
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
        if has_runner {
            write("home/runner/run.sh", RUN, 0o755);
        }
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
        // Two tests may have an image on the same server, and remove their own.
        let what = if has_runner { "whole" } else { "bare" };
        let alias = format!("dayfly-e2e-{}-{what}", std::process::id());
        server.ask(&["image", "import", &archive.display().to_string(), "--alias", &alias]);
        Self { server: server.clone(), alias }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.server.run(&["image", "delete", &self.alias]);
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

/// Every job had an instance of its own.
pub async fn each_its_own(site: &Site) {
    let state = site.github.get("state").await;
    let jobs = state["jobs"].as_array().unwrap();
    let runners: BTreeSet<&str> =
        jobs.iter().map(|job| job["runner_name"].as_str().unwrap()).collect();
    assert_eq!(runners.len(), jobs.len(), "each job had an instance of its own");
    // Only a scale set's job is given to it in rounds.
    let once = |job: &Value| job["attempt"] == 1 && job["rounds"].as_u64() <= Some(1);
    assert!(jobs.iter().all(once), "none ran twice");
}

pub async fn until_done(site: &Site, jobs: usize) {
    // Each one for itself: how long all of them take hangs on the machine.
    for done in 1..=jobs {
        let what = format!("{done} jobs done");
        let ready = async |github: &GitHub| github.jobs("success").await >= done as u64;
        site.github.until(&what, ready).await;
    }
}

/// One after the other in one test: the image is large, and LXD copies it for each instance.
#[tokio::test]
#[ignore = "needs lxd"]
async fn jobs_run_in_instances_of_their_own_and_survive_the_daemon() {
    let server = Server::default();
    let image = Image::pack(&server, true);
    let making = Making::Lxd { image: image.alias.clone(), server };
    let mut site = Site::new(Setup { making, max: 3, ..Setup::default() }).await;
    let check = site.run(&["check", "--config", site.path("dayfly.yaml").to_str().unwrap()]);
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(told.contains("it started, took a registration and ended"), "{told}");
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 1"), 6).await;
    until_done(&site, 2).await;
    site.crash();
    site.start();
    until_done(&site, 6).await;
    each_its_own(&site).await;
    site.end_clean().await;
}

/// The image has no runner program: dayfly fetches it, and puts it into each instance. A newer one replaces what is warm.
#[tokio::test]
#[ignore = "needs lxd"]
async fn the_runner_program_is_put_in_and_kept_new() {
    let server = Server::default();
    let image = Image::pack(&server, false);
    let making = Making::Lxd { image: image.alias.clone(), server };
    let more = "    runner_version: latest\n    warm: 1\n".to_owned();
    let mut site = Site::new(Setup { making, max: 2, more, ..Setup::default() }).await;
    site.start_and_wait();
    let waits = |status: &Value| status["pools"][0]["waits_for"].to_string();
    site.until(&["status"], |status| waits(status).contains("lists no runner program"));
    site.stop();
    site.github.offer_program("2.329.0", archive("2.329.0")).await;
    let check = site.run(&["check", "--config", site.path("dayfly.yaml").to_str().unwrap()]);
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(told.contains("the runner program: 2.329.0"), "{told}");
    assert!(told.contains("it started, took a registration and ended"), "{told}");
    site.start_and_wait();
    let is_at = |version: &'static str| {
        move |status: &Value| status["pools"][0]["runner_version"] == version
    };
    site.until(&["status"], is_at("2.329.0"));
    site.github.queue("acme/site", Some("true"), 2).await;
    until_done(&site, 2).await;
    let warm = |runners: &Value| {
        let runners = runners.as_array().unwrap();
        let found = runners.iter().find(|runner| runner["phase"] == "warm");
        found.map(|runner| runner["name"].as_str().unwrap().to_owned())
    };
    let old = warm(&site.until(&["runners"], |runners| warm(runners).is_some())).unwrap();
    let one = json!({ "containers": 1, "vms": 0, "former": 0 });
    site.until(&["status"], |status| status["lxd"]["it"] == one);
    let told = site.run(&["status"]);
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("1: 1 container, 0 VMs"), "{told}");
    site.stop();
    site.github.offer_program("2.330.0", archive("2.330.0")).await;
    site.start_and_wait();
    site.until(&["status"], is_at("2.330.0"));
    site.until(&["runners"], |runners| warm(runners).is_some_and(|name| name != old));
    site.github.queue("acme/site", Some("true"), 1).await;
    until_done(&site, 3).await;
    each_its_own(&site).await;
    site.end_clean().await;
}

/// Servers that a test may kill have bridges and networks of the same names: there is one test at a time.
pub static ONE_SERVER: Mutex<()> = Mutex::const_new(());

/// Runs jobs on a server of its own while that dies once and the daemon twice.
async fn survive(demand: &'static str) {
    let _alone = ONE_SERVER.lock().await;
    let (jobs, mut network) = (jobs(), Network::default());
    let mut private = Private::start(&[""; 0], PRESEED);
    let server = Server { directory: Some(private.directory()), ..Server::default() };
    let image = Image::pack(&server, true);
    let making = Making::Lxd { image: image.alias.clone(), server: server.clone() };
    let mut site = Site::new(Setup { making, demand, max: 4, ..Setup::default() }).await;
    if demand == "webhook" {
        webhooks::install_on_a_bad_way(&site).await;
    }
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 1"), jobs).await;
    until_done(&site, jobs / 5).await;
    site.crash();
    site.start();
    until_done(&site, jobs * 2 / 5).await;
    network.note(&server);
    private.crash();
    // Jobs end meanwhile, and creates fail.
    std::thread::sleep(Duration::from_secs(3));
    private.start_again();
    network.note(&server);
    until_done(&site, jobs * 3 / 5).await;
    site.crash();
    site.start();
    until_done(&site, jobs).await;
    each_its_own(&site).await;
    if demand == "webhook" {
        webhooks::deliveries_got_lost(&site.github.get("state").await, jobs);
    }
    site.end_clean().await;
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn the_server_dies_and_the_daemon_twice_and_no_job_is_lost() {
    survive("scale-set").await;
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn the_same_where_deliveries_are_lost_doubled_and_shuffled() {
    survive("webhook").await;
}

/// Of the shared server: what `dayfly backend trust` had it trust.
struct Trusted(Server, String);

impl Drop for Trusted {
    fn drop(&mut self) {
        let listed = self.0.ask(&["query", "/1.0/certificates?recursion=1"]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        for known in listed.iter().filter(|known| known["name"] == self.1.as_str()) {
            self.0.ask(&["config", "trust", "remove", known["fingerprint"].as_str().unwrap()]);
        }
    }
}

#[test]
#[ignore = "needs lxd"]
fn a_token_makes_a_remote_server_usable() {
    let server = Server::default();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"];
    let (key, certificate) = (path("lxd.key"), path("lxd.crt"));
    let more = ["-sha384", "-nodes", "-subj", "/CN=dayfly", "-keyout", &key, "-out", &certificate];
    let made = Command::new("openssl").args([&new[..], &more].concat()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let address = || server.ask(&["config", "get", "core.https_address"]).trim().to_owned();
    if address().is_empty() {
        server.ask(&["config", "set", "core.https_address", "127.0.0.1:8443"]);
    }
    let config = format!(
        "github: [{{ url: \"https://github.com/acme\", auth: {{ token: env:NONE }} }}]\nbackends:\n  rack1: {{ lxd: \
         {{ url: \"https://{}\", client_cert: lxd.crt, client_key: file:lxd.key, server_cert: rack1.crt }} }}\n\
         pools: [{{ name: e2e, labels: [e2e], backends: [rack1], image: none, max: 1 }}]\nstore: {{ sqlite: dayfly.db }}\n",
        address()
    );
    fs::write(home.path().join("dayfly.yaml"), config).unwrap();
    let trust = |backend: &str, token: &str| {
        let mut command = Command::new(DAYFLY);
        command.args(["backend", "trust", backend, "--config", &path("dayfly.yaml"), "--json"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let name = format!("dayfly-e2e-{}", std::process::id());
    let trusted = Trusted(server.clone(), name);
    let token = server.ask(&["config", "trust", "add", "--name", &trusted.1, "--quiet"]);
    assert_eq!(trust("rack2", &token).status.code(), Some(2));
    assert_eq!(trust("rack1", "no token\n").status.code(), Some(5));
    assert!(!home.path().join("rack1.crt").exists());
    for given in ["first", "again"] {
        let output = trust("rack1", &token);
        assert!(output.status.success(), "{given}: {output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["server_cert"], path("rack1.crt").as_str());
        let words = String::from_utf8_lossy(&output.stderr).into_owned() + &told.to_string();
        assert!(!words.contains(token.trim()), "{words}");
    }
    let written = fs::read_to_string(home.path().join("rack1.crt")).unwrap();
    let asked: Value = serde_json::from_str(&server.ask(&["query", "/1.0"])).unwrap();
    assert_eq!(written, asked["environment"]["certificate"].as_str().unwrap());
    // A server that was made anew has another certificate: what was written stands.
    fs::write(home.path().join("rack1.crt"), fs::read(&certificate).unwrap()).unwrap();
    let output = trust("rack1", &token);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another certificate"), "{output:?}");
}
