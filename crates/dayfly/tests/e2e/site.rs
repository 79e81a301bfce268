//! A place for a test: the simulated GitHub, the daemon, and what makes the instances.

use std::{
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use dayfly_backends::process::{Process as ProcessBackend, ProcessOptions};
use dayfly_core::{
    model::ControllerId,
    ports::{Backend, Store},
};
use dayfly_store::Sqlite;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    disk::Disk,
    docker::containers,
    github::GitHub,
    load::Load,
    lxd,
    processes::{DAYFLY, PATIENCE, Process, pid, working_in},
    standing,
    way::Way,
};

/// A token that opens the simulator.
pub const TOKEN: &str = "ghp_e2ee2ee2ee2ee2ee2ee2ee2ee2ee2ee2e1";

/// What webhooks are signed with, where the pool hears them.
pub const WEBHOOK_SECRET: &str = "e2e-not-much-of-a-secret";

/// What a test differs in.
#[derive(Debug, Clone)]
pub struct Setup {
    /// `acme`, or `acme/site`.
    pub scope: &'static str,
    /// A GitHub App rather than a token.
    pub app: bool,
    /// The App's own webhook tells of jobs.
    pub app_webhook: bool,
    /// `auto` or `acquire`.
    pub assignment: &'static str,
    /// What makes the instances.
    pub making: Making,
    /// Where the pool learns how many runners it should have.
    pub demand: &'static str,
    /// The pool's `max`.
    pub max: usize,
    /// Further lines of the pool.
    pub more: String,
    /// A backend that the pool names before that.
    pub first: Option<First>,
    /// The store lies on a small disk of its own, which can be filled; needs root.
    pub small_disk: bool,
    /// Daemon and runners reach GitHub by a way that can be cut.
    pub cuttable: bool,
}

/// A pool's first backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// Processes, with a budget of so many runners.
    Limited(usize),
    /// Processes whose runner program is not there.
    Bare,
    /// It hangs on every call.
    Hanging,
    /// Another server, or another member of the cluster, with the same image.
    Lxd(lxd::Server),
}

/// What makes the instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Making {
    /// Processes.
    Process,
    /// Another process, which plays the runners.
    Noop,
    /// System containers of an image, by an LXD server; they reach GitHub by its bridge.
    Lxd {
        /// The image's alias.
        image: String,
        /// The server.
        server: lxd::Server,
    },
    /// Containers of an image, on an engine; they see this machine's network.
    Docker {
        /// The image.
        image: String,
        /// The engine's socket.
        socket: PathBuf,
    },
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            scope: "acme",
            app: false,
            app_webhook: false,
            assignment: "auto",
            making: Making::Process,
            demand: "scale-set",
            max: 4,
            more: String::new(),
            first: None,
            small_disk: false,
            cuttable: false,
        }
    }
}

/// The place. All that was started in it ends with it.
pub struct Site {
    /// The simulated GitHub.
    pub github: GitHub,
    setup: Setup,
    daemon: Option<Process>,
    load: Option<Load>,
    /// Where the setup has one.
    pub disk: Option<Disk>,
    /// Where the setup has one.
    pub way: Option<Way>,
    starts: u32,
    /// Configuration, store, logs.
    pub directory: tempfile::TempDir,
}

impl Site {
    /// Sets it up; the daemon is not started yet.
    pub async fn new(setup: Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("dayfly-e2e-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        // The address by which the instances reach it: an LXD container has a network of its own.
        let host = match &setup.making {
            Making::Lxd { server, .. } => server.gateway(),
            _ => "127.0.0.1".to_owned(),
        };
        let github = GitHub::start(&host, directory.path());
        for scope in ["acme", "acme/site"] {
            github.post("scopes", &json!({ "path": scope, "assignment": setup.assignment })).await;
        }
        // A dead daemon's session is let go of after this long, rather than minutes.
        github.post("options", &json!({ "session_ttl_ms": 3_000 })).await;
        let disk = setup.small_disk.then(|| Disk::mount(&directory.path().join("disk")));
        let way = setup.cuttable.then(|| Way::to(github.address()));
        let (daemon, load) = (None, None);
        let mut site = Self { github, setup, daemon, load, disk, way, starts: 0, directory };
        let auth = site.credential().await;
        let backend = site.backend();
        let first = site.first(&backend.1);
        site.configure(&auth, &backend, first);
        site
    }

    /// A path in the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The store's file.
    fn store_file(&self) -> PathBuf {
        self.path(if self.setup.small_disk { "disk/dayfly.db" } else { "dayfly.db" })
    }

    /// Writes a file that only its owner may read.
    pub fn write_secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    async fn credential(&self) -> String {
        if self.setup.app {
            let made = self
                .github
                .post("credentials", &json!({ "type": "app", "installations": ["acme"], "events": ["workflow_job"] }))
                .await;
            self.write_secret("app.pem", made["private_key"].as_str().unwrap());
            return format!(
                "app: {{ client_id: {}, private_key: file:app.pem, webhook: {} }}",
                made["client_id"].as_str().unwrap(),
                self.setup.app_webhook
            );
        }
        self.github.post("credentials", &json!({ "type": "pat", "token": TOKEN })).await;
        self.write_secret("token", TOKEN);
        "token: file:token".to_owned()
    }

    /// The backend and the image, in the configuration's words.
    fn backend(&mut self) -> (String, String) {
        match self.setup.making.clone() {
            Making::Process => {
                let runner = self.path("runner");
                std::fs::create_dir(&runner).unwrap();
                let script = format!("#!/bin/sh\nexec '{DAYFLY}' runner-stub run \"$@\"\n");
                std::fs::write(runner.join("run.sh"), script).unwrap();
                std::fs::set_permissions(
                    runner.join("run.sh"),
                    std::fs::Permissions::from_mode(0o755),
                )
                .unwrap();
                let directory = self.path("instances");
                (
                    format!("process: {{ directory: {} }}", directory.display()),
                    runner.display().to_string(),
                )
            }
            Making::Noop => {
                let socket = self.path("load.sock");
                self.load = Some(Load::start(&socket, &self.path("load.log")));
                (format!("noop: {{ socket: {} }}", socket.display()), "none".to_owned())
            }
            Making::Lxd { image, server } => (server.settings(), image),
            Making::Docker { image, socket } => {
                self.setup.more.push_str("    pull: never\n    network: host\n");
                (format!("docker: {{ host: \"unix://{}\" }}", socket.display()), image)
            }
        }
    }

    /// The first of two backends, with what the second one makes as `image`.
    fn first(&mut self, image: &str) -> Option<(String, String)> {
        let directory = self.path("first-instances");
        let processes = format!("process: {{ directory: {} }}", directory.display());
        Some(match self.setup.first.clone()? {
            First::Limited(runners) => {
                (format!("{processes}, budget: {{ runners: {runners} }}"), image.to_owned())
            }
            First::Bare => (processes, self.path("nothing-here").display().to_string()),
            First::Lxd(server) => (server.settings(), image.to_owned()),
            First::Hanging => {
                let socket = self.path("first.sock");
                let load = Load::start(&socket, &self.path("first.log"));
                load.freeze(true);
                self.load = Some(load);
                (format!("noop: {{ socket: {} }}", socket.display()), "none".to_owned())
            }
        })
    }

    fn configure(
        &self,
        auth: &str,
        (backend, image): &(String, String),
        first: Option<(String, String)>,
    ) {
        let (more_backends, names, image) = match first {
            None => (String::new(), "it", format!("\"{image}\"")),
            Some((first, of_first)) => (
                format!("first: {{ {first} }}, "),
                "first, it",
                format!("{{ first: \"{of_first}\", it: \"{image}\" }}"),
            ),
        };
        let Setup { scope, demand, max, more, .. } = &self.setup;
        let base = self.way.as_ref().map_or(&self.github.base, |way| &way.base);
        let store = self.store_file();
        let text = format!(
            "github: [{{ url: {base}/{scope}, auth: {{ {auth} }} }}]\nbackends: {{ {more_backends}it: {{ {backend} }} }}\npools:\n  - name: e2e\n    \
             labels: [e2e]\n    demand: {demand}\n    backends: [{names}]\n    image: {image}\n    max: {max}\n    \
             environment: {{ RUNNER_ALLOW_RUNASROOT: \"1\" }}\n{more}store: {{ sqlite: {} }}\n",
            store.display()
        );
        let text = text + &self.endpoint();
        std::fs::write(self.path("dayfly.yaml"), text).unwrap();
    }

    /// Where webhooks are taken, for a pool that hears them.
    fn endpoint(&self) -> String {
        if self.setup.demand != "webhook" {
            return String::new();
        }
        self.write_secret("webhook", WEBHOOK_SECRET);
        // The port stays the same: it is taken once, and again by each daemon.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        format!(
            "server: {{ listen: \"{address}\", webhook_secret: file:webhook, webhook_url: \"http://{address}/webhook\", allow: github }}\n"
        )
    }

    /// Changes the configuration's text for the next start.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let path = self.path("dayfly.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Starts the daemon; does not wait for it.
    pub fn start(&mut self) {
        self.start_with(&["run"], |command| command);
    }

    /// Starts the daemon under another program, which `wrap` puts before it.
    pub fn start_wrapped(&mut self, wrap: impl FnOnce(Command) -> Command) {
        self.start_with(&["run"], wrap);
    }

    /// Starts a daemon that waits for busy runners at its end.
    pub fn start_draining(&mut self) {
        self.start_with(&["run", "--drain"], |command| command);
    }

    fn start_with(&mut self, words: &[&str], wrap: impl FnOnce(Command) -> Command) {
        assert!(self.daemon.is_none());
        self.starts += 1;
        let mut command = self.command(words);
        command
            .arg("--config")
            .arg(self.path("dayfly.yaml"))
            .arg("--events")
            .arg(self.path("events.jsonl"));
        let log = self.path(&format!("daemon-{}.log", self.starts));
        self.daemon = Some(Process::start(&mut wrap(command), &log));
    }

    /// Starts the daemon and waits for its session.
    pub fn start_and_wait(&mut self) {
        self.start();
        self.until_session();
    }

    /// Waits until the daemon has its session, where its pool has a scale set, or else is there.
    pub fn until_session(&self) {
        let hears = self.setup.demand == "scale-set";
        self.until(&["status"], |status| {
            let pool = &status["pools"][0];
            if hears { pool["session"] == true } else { pool["demand"] == self.setup.demand }
        });
    }

    /// `kill -9` of the daemon.
    pub fn crash(&mut self) {
        self.daemon.take().unwrap().crash();
    }

    /// SIGTERM of the daemon, which must end well.
    pub fn stop(&mut self) {
        let status = self.daemon.take().unwrap().stop();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// How the daemon ended, if it did so by itself.
    pub fn daemon_ended(&mut self) -> Option<std::process::ExitStatus> {
        let ended = self.daemon.as_mut()?.ended()?;
        self.daemon = None;
        Some(ended)
    }

    /// The daemon's process id.
    pub fn daemon_id(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Stops or continues the process that holds noop instances: every call to it waits meanwhile.
    pub fn freeze_engine(&self, frozen: bool) {
        self.load.as_ref().unwrap().freeze(frozen);
    }

    /// A command of the program under test, against this place's daemon, with an environment of its own.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(DAYFLY);
        command.args(words).env("DAYFLY_SOCKET", self.path("dayfly.sock"));
        command.env_remove("GITHUB_TOKEN").env_remove("CREDENTIALS_DIRECTORY").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that must work, and reads its JSON.
    pub fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until what `words` print satisfies `ready`.
    pub fn until(&self, words: &[&str], ready: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let mut waited = std::time::Duration::ZERO;
        while waited < PATIENCE {
            let output = self.run(&[words, &["--json"]].concat());
            // A daemon that has just been started does not answer yet.
            if output.status.code() != Some(6) {
                assert!(
                    output.status.success(),
                    "{words:?}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                last = serde_json::from_slice(&output.stdout).unwrap();
                if ready(&last) {
                    return last;
                }
            }
            let step = std::time::Duration::from_millis(50);
            std::thread::sleep(step);
            waited += step;
        }
        panic!("not in time: {words:?}: {last:#}");
    }

    /// The daemon's log, newest life.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path(&format!("daemon-{}.log", self.starts)))
            .unwrap_or_default()
    }

    /// Deletes the pool, ends the daemon, and proves that nothing is left anywhere.
    pub async fn end_clean(&mut self) {
        // A daemon that has just been started does not answer yet.
        self.until(&["status"], |_| true);
        self.json(&["pool", "delete", "e2e"]);
        self.until(&["status"], |status| {
            status["pools"].as_array().unwrap().iter().all(|pool| pool["state"] == "deleted")
        });
        self.until(&["runners"], |runners| runners.as_array().unwrap().is_empty());
        self.stop();
        let summary = self.github.get("summary").await;
        assert_eq!(
            (&summary["runners"]["total"], &summary["sessions"], &summary["sets"]),
            (&json!(0), &json!(0), &json!(0))
        );
        let mut store = Sqlite::open_read_only(&self.store_file()).unwrap();
        let counts = store.counts().unwrap();
        assert_eq!((counts.runners_not_gone, counts.open_duties), (0, 0));
        let controller = store.load().unwrap().controller;
        assert_eq!(self.instances(controller).await, 0, "instances are left");
    }

    /// What makes the instances.
    pub fn making(&self) -> &Making {
        &self.setup.making
    }

    /// Whose instances they are, once a daemon has made the store.
    pub fn known_controller(&self) -> Option<ControllerId> {
        let mut store = Sqlite::open_read_only(&self.store_file()).ok()?;
        Some(store.load().ok()?.controller)
    }

    /// How many instances there are.
    pub async fn instances(&mut self, controller: ControllerId) -> usize {
        match &self.setup.making {
            Making::Process => {
                let mut found = 0;
                for directory in [self.path("instances"), self.path("first-instances")] {
                    found += working_in(&directory).len();
                    let options = ProcessOptions { directory };
                    let backend = ProcessBackend::new(&options, controller).unwrap();
                    found += backend.list().await.unwrap().len();
                }
                found
            }
            Making::Noop => {
                let held = self.load.as_mut().unwrap().instances();
                held.as_array().unwrap().len()
            }
            Making::Docker { socket, .. } => containers(socket, controller).unwrap().len(),
            Making::Lxd { server, .. } => server.instances(controller).len(),
        }
    }
}

impl Drop for Site {
    /// What a failed test leaves: its own processes, known by their directory, and its own containers, by their label.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", standing::of(self));
        }
        drop(self.daemon.take());
        for id in working_in(self.directory.path()) {
            let _ = kill_process(pid(id), Signal::KILL);
        }
        if let Making::Lxd { server, .. } = self.making()
            && let Some(controller) = self.known_controller()
        {
            for instance in server.instances(controller) {
                let _ = server.run(&["delete", "--force", &instance]);
            }
        }
        if let Making::Docker { socket, .. } = self.making()
            && let Some(controller) = self.known_controller()
        {
            for container in containers(socket, controller).unwrap_or_default() {
                let host = format!("unix://{}", socket.display());
                let _ = Command::new("docker")
                    .args(["--host", &host, "rm", "--force", &container])
                    .output();
            }
        }
    }
}
