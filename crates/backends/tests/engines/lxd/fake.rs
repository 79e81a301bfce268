//! A stand-in for LXD's socket that keeps instances, and counts what is asked of each: what a real server can't be made to
//! do at will, or does not tell.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::model::{ControllerId, RunnerName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};

use crate::suite::controller;

/// Longer than anything that is waited for; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest request of a test; a longer one is cut, and its test fails.
const REQUEST_MAX: usize = 1 << 20;

/// How a file is read.
#[derive(Debug, Clone)]
pub enum File {
    Text(&'static str),
    /// The server never answers, as LXD where the file is a pipe.
    Pipe,
    /// The connection breaks.
    Broken,
}

#[derive(Debug, Clone, Default)]
pub struct Instance {
    pub is_running: bool,
    pub config: BTreeMap<String, String>,
    pub files: BTreeMap<&'static str, File>,
    /// What the server shows of its console; `None` where it knows of none.
    pub console: Option<&'static str>,
    /// How every command in it ends.
    pub exit_code: i64,
    /// How often it was looked at, and how many commands were run in it.
    pub looks: usize,
    pub commands: usize,
    /// How often its console was read.
    pub readings: usize,
}

#[derive(Debug, Default)]
pub struct State {
    pub instances: BTreeMap<String, Instance>,
    /// What every instance is like that is made.
    pub new: Instance,
    pub lists: usize,
    /// Whether it is never told which networks there are.
    pub hides_networks: bool,
}

/// Serves until it is dropped.
pub struct Fake {
    home: tempfile::TempDir,
    controller: ControllerId,
    state: Arc<Mutex<State>>,
    _server: JoinSet<()>,
}

impl Fake {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join("unix.socket")).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self { home, controller: controller(), state, _server: server }
    }

    pub fn connect(&self) -> Lxd {
        let server = LxdServer::Socket(self.home.path().join("unix.socket"));
        Lxd::connect(&LxdOptions { server, ..LxdOptions::default() }, self.controller).unwrap()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An instance that was made before, ready for its registration or given one.
    pub fn add(&self, runner: &RunnerName, instance: Instance) {
        let tags = [
            ("user.dayfly.controller", self.controller.to_string()),
            ("user.dayfly.runner", runner.to_string()),
            ("user.dayfly.ready", "true".to_owned()),
        ];
        let config = tags.map(|(key, value)| (key.to_owned(), value)).into();
        self.state().instances.insert(runner.to_string(), Instance { config, ..instance });
    }

    pub fn of(&self, runner: &RunnerName) -> Instance {
        self.state().instances[runner.as_str()].clone()
    }

    pub async fn until(&self, so: impl Fn(&State) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !so(&self.state()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("it never came: {:?}", self.state()));
    }
}

/// One request: the socket's client keeps no connection.
async fn serve(mut connection: UnixStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            break (head.to_owned(), body.to_owned());
        }
        match connection.read_buf(&mut request).await {
            Ok(1..) if request.len() < REQUEST_MAX => {}
            _ => return,
        }
    };
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path == "/1.0/events" {
        let begin =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        let _ = connection.write_all(begin.as_bytes()).await;
        // Nothing happens that it tells of.
        let _ = connection.read(&mut [0]).await;
        return;
    }
    let body = serde_json::from_str(&body).unwrap_or_default();
    let answer = {
        let mut state = state.lock().unwrap();
        state.answer(method, path, query, &body)
    };
    let (status, text) = match answer {
        Answer::Text(text) => (200, text.to_owned()),
        Answer::Of(metadata) => (200, json!({"type": "sync", "metadata": metadata}).to_string()),
        Answer::Operation(operation) => {
            (202, json!({"type": "async", "metadata": operation}).to_string())
        }
        Answer::Absent => {
            (404, json!({"type": "error", "error": "not found", "error_code": 404}).to_string())
        }
        Answer::Never => std::future::pending().await,
        Answer::Cut => return,
    };
    let head = format!("HTTP/1.1 {status} any\r\ncontent-length: {}\r\n\r\n", text.len());
    let _ = connection.write_all((head + &text).as_bytes()).await;
}

fn length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.filter_map(|(_, length)| length.parse().ok()).next().unwrap_or(0)
}

enum Answer {
    Text(&'static str),
    Of(Value),
    Operation(Value),
    Absent,
    Never,
    Cut,
}

impl State {
    fn answer(&mut self, method: &str, path: &str, query: &str, body: &Value) -> Answer {
        let words: Vec<&str> = path.trim_start_matches("/1.0/").split('/').collect();
        match (method, &words[..]) {
            ("GET", ["instances"]) => {
                self.lists += 1;
                let told = self.instances.iter().map(|(name, instance)| told(name, instance));
                Answer::Of(told.collect())
            }
            ("POST", ["instances"]) => {
                let name = body["name"].as_str().unwrap().to_owned();
                let config = serde_json::from_value(body["config"].clone()).unwrap();
                self.instances.insert(name, Instance { config, ..self.new.clone() });
                Answer::Of(Value::Null)
            }
            ("GET", ["networks"]) if self.hides_networks => Answer::Never,
            // No operation, no network.
            ("GET", [_]) => Answer::Of(json!([])),
            // An operation bears its result.
            ("GET", ["operations", id, "wait"]) => {
                let code: i64 = id.trim_start_matches("exit-").parse().unwrap();
                Answer::Of(json!({"id": id, "status_code": 200, "metadata": {"return": code}}))
            }
            (method, ["instances", name, rest @ ..]) => {
                let Some(instance) = self.instances.get_mut(*name) else { return Answer::Absent };
                match (method, rest) {
                    ("GET", []) => {
                        instance.looks += 1;
                        Answer::Of(told(name, instance))
                    }
                    ("DELETE", []) => {
                        self.instances.remove(*name);
                        Answer::Of(Value::Null)
                    }
                    ("PUT", ["state"]) => {
                        instance.is_running = body["action"] == "start";
                        Answer::Of(Value::Null)
                    }
                    ("POST", ["exec"]) => {
                        instance.commands += 1;
                        let id = format!("exit-{}", instance.exit_code);
                        Answer::Operation(json!({"id": id, "status_code": 103}))
                    }
                    ("GET", ["console"]) => {
                        instance.readings += 1;
                        instance.console.map_or(Answer::Absent, Answer::Text)
                    }
                    ("GET", ["files"]) => {
                        let named = query.replace("%2F", "/");
                        let name = named.rsplit('/').next().unwrap_or_default();
                        match instance.files.get(name) {
                            Some(File::Text(text)) => Answer::Text(text),
                            Some(File::Pipe) => Answer::Never,
                            Some(File::Broken) => Answer::Cut,
                            None => Answer::Absent,
                        }
                    }
                    _ => panic!("{method} {path}"),
                }
            }
            _ => panic!("{method} {path}"),
        }
    }
}

fn told(name: &str, instance: &Instance) -> Value {
    json!({
        "name": name,
        "status": if instance.is_running { "Running" } else { "Stopped" },
        "type": "container",
        "config": instance.config,
        "created_at": "2026-11-22T00:00:00Z",
        "last_used_at": "2026-11-22T00:00:01Z",
    })
}
