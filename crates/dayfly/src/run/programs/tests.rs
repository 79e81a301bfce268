//! Keeping the runner program, against the simulated GitHub.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use dayfly_config::Config;
use dayfly_core::model::{ProgramState, ScopeName, Spec};
use dayfly_engine::SteadyClock;
use dayfly_github::{Address, Credential, GitHub, HttpTransport};
use dayfly_github_sim::{ControlClient, Server, SimConfig};
use serde_json::{Value, json};

use super::Keeper;

const TOKEN: &str = "ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A simulated GitHub, and a place for a store.
struct Fixture {
    server: Server,
    control: ControlClient,
    home: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = dayfly_github_sim::serve(listener, SimConfig::default()).unwrap();
        let patience = std::time::Duration::from_secs(20);
        let control = ControlClient::new(server.url(), patience).unwrap();
        let fixture = Self { server, control, home: tempfile::tempdir().unwrap() };
        fixture.tell("scopes", json!({ "path": "acme" })).await;
        fixture.tell("credentials", json!({ "type": "pat", "token": TOKEN })).await;
        fixture
    }

    async fn tell(&self, what: &str, body: Value) {
        self.control.post(what, &body).await.unwrap();
    }

    fn config(&self, program: &str) -> Config {
        let text = format!(
            "github: [{{ name: acme, url: \"{}/acme\", auth: {{ token: env:NONE }} }}]\nbackends: {{ here: {{ lxd: {{}} }} }}\n\
             pools: [{{ name: linux, image: debian, max: 1, {program} }}]\nstore: {{ sqlite: {} }}\n",
            self.server.url(),
            self.home.path().join("dayfly.db").display()
        );
        dayfly_config::parse(text.as_bytes(), Path::new("dayfly.yaml")).unwrap()
    }

    async fn open(&self, program: &str) -> Keeper {
        let config = self.config(program);
        let name = ScopeName::new("acme").unwrap();
        let address = Address::parse(&config.scopes[&name].url).unwrap();
        let credential = Credential::Token(TOKEN.to_owned().into());
        let transport = Arc::new(HttpTransport::new(None).unwrap());
        let clock = Arc::new(SteadyClock::start());
        let forge = GitHub::new(address, &credential, transport, clock, "test").unwrap();
        let forges = BTreeMap::from([(name, Arc::new(forge))]);
        Keeper::open(&config, &forges).await.unwrap().unwrap()
    }

    /// The archives on the disk.
    fn files(&self) -> Vec<String> {
        let directories = std::fs::read_dir(self.home.path().join("dayfly.programs"));
        let files = directories
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| std::fs::read_dir(entry.path()).ok());
        let names =
            files.flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with("actions-runner-")).collect()
    }
}

fn state(spec: &Spec) -> &ProgramState {
    &spec.pools.values().next().unwrap().program().unwrap().state
}

/// The version at hand, or why there is none.
fn at_hand(keeper: &Keeper) -> Result<String, String> {
    match state(&keeper.spec()) {
        ProgramState::Ready { version, file, .. } => {
            assert!(file.exists());
            Ok(version.clone())
        }
        ProgramState::Missing { why } => Err(why.clone()),
    }
}

fn mark(keeper: &Keeper) -> Arc<str> {
    keeper.spec().pools.values().next().unwrap().places[0].mark.clone()
}

#[tokio::test]
async fn the_newest_is_fetched_once_and_replaced_by_the_next() {
    let fixture = Fixture::new().await;
    fixture.tell("programs?version=2.329.0", json!("one")).await;
    let mut keeper = fixture.open("runner_version: latest").await;
    assert!(at_hand(&keeper).unwrap_err().contains("not fetched yet"));
    let before = mark(&keeper);
    assert!(keeper.refresh().await);
    assert_eq!(at_hand(&keeper).unwrap(), "2.329.0");
    let one = mark(&keeper);
    assert_ne!(one, before);
    // What is here is not fetched again.
    fixture
        .tell("faults", json!({ "route": "program", "action": { "do": "status", "status": 500 } }))
        .await;
    assert!(keeper.refresh().await);
    assert_eq!(mark(&keeper), one);
    // A newer one that can't be had leaves the old one in use.
    fixture.tell("programs?version=2.330.0", json!("two")).await;
    assert!(!keeper.refresh().await);
    assert_eq!(at_hand(&keeper).unwrap(), "2.329.0");
    fixture.control.delete("faults").await.unwrap();
    assert!(keeper.refresh().await);
    assert_eq!(at_hand(&keeper).unwrap(), "2.330.0");
    assert_ne!(mark(&keeper), one);
    // A daemon on the same disk may use the old one: who only looks removes nothing.
    assert!(keeper.refresh().await);
    assert_eq!(fixture.files().len(), 2);
    let used = keeper.archives();
    keeper.tidy(&used);
    assert_eq!(fixture.files().len(), 1);
    // One that somebody took away is fetched again.
    let ProgramState::Ready { file, .. } = state(&keeper.spec()).clone() else { panic!() };
    std::fs::remove_file(&file).unwrap();
    assert!(keeper.refresh().await);
    assert!(file.exists());
}

#[tokio::test]
async fn what_lies_on_the_disk_is_used_while_github_is_away_and_only_if_it_is_whole() {
    let fixture = Fixture::new().await;
    fixture.tell("programs?version=2.329.0", json!("one")).await;
    let mut keeper = fixture.open("runner_version: latest").await;
    assert!(keeper.refresh().await);
    let made_from = mark(&keeper);
    fixture
        .tell(
            "faults",
            json!({ "route": "runners.downloads", "action": { "do": "status", "status": 503 } }),
        )
        .await;
    let mut again = fixture.open("runner_version: latest").await;
    assert_eq!(mark(&again), made_from, "a restart replaces nothing");
    assert!(!again.refresh().await);
    assert_eq!(at_hand(&again).unwrap(), "2.329.0");
    let ProgramState::Ready { file, .. } = state(&again.spec()).clone() else { panic!() };
    std::fs::write(&file, "spoilt").unwrap();
    let mut again = fixture.open("runner_version: latest").await;
    assert!(!again.refresh().await);
    assert!(at_hand(&again).unwrap_err().contains("503"), "{:?}", at_hand(&again));
    assert!(!file.exists());
}

#[tokio::test]
async fn what_is_not_as_promised_is_not_used() {
    let fixture = Fixture::new().await;
    let wrong = "b".repeat(64);
    let check = async |program: &str, words: &str| {
        let mut keeper = fixture.open(program).await;
        assert!(!keeper.refresh().await);
        let why = at_hand(&keeper).unwrap_err();
        assert!(why.contains(words), "{why}");
        assert_eq!(keeper.told()[0].1.as_ref().unwrap_err(), &why);
        assert_eq!(fixture.files(), [] as [&str; 0]);
    };
    check("runner_version: latest", "lists no runner program").await;
    fixture.tell(&format!("programs?version=2.329.0&sha256={wrong}"), json!("one")).await;
    check("runner_version: latest", &format!("and not {wrong}")).await;
    check(&format!("runner_version: 2.329.0, runner_sha256: {wrong}"), "and not").await;
    fixture.tell("programs?version=2.330.0&sha256=", json!("two")).await;
    check("runner_version: latest", "runner_sha256").await;
    check("runner_version: 2.329.0", "its newest version, 2.330.0").await;
    check(&format!("runner_version: 2.328.0, runner_sha256: {wrong}"), "status 404").await;
    fixture.tell("programs?version=2.331.0", json!("three")).await;
    let cut = json!({ "route": "program", "count": 2, "action": { "do": "truncate", "bytes": 3 } });
    fixture.tell("faults", cut).await;
    check("runner_version: latest", "no whole answer").await;
}

#[tokio::test]
async fn a_pinned_version_stays_and_its_end_is_told() {
    let fixture = Fixture::new().await;
    fixture.tell("programs?version=2.329.0", json!("one")).await;
    // SHA-256 of what was told above, as JSON.
    let sum = {
        use sha2::{Digest, Sha256};
        let sum = Sha256::digest(json!("one").to_string());
        sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let pinned = format!("runner_version: 2.329.0, runner_sha256: {sum}");
    let mut keeper = fixture.open(&pinned).await;
    assert!(keeper.refresh().await);
    assert_eq!(keeper.told()[0].1.as_deref(), Ok("2.329.0"));
    let made_from = mark(&keeper);
    fixture.tell("programs?version=2.330.0", json!("two")).await;
    assert!(keeper.refresh().await);
    assert_eq!(at_hand(&keeper).unwrap(), "2.329.0");
    assert_eq!(mark(&keeper), made_from, "that it will be refused replaces nothing yet");
    let told = keeper.told()[0].1.clone().unwrap();
    assert!(told.contains("2.329.0, which GitHub refuses from"), "{told}");
    // A server that does not tell dates: a month from when the next one was seen.
    let gone =
        json!({ "route": "runners.deprecation", "action": { "do": "status", "status": 404 } });
    fixture.tell("faults", gone).await;
    let mut again = fixture.open(&pinned).await;
    assert!(again.refresh().await);
    let reckoned = again.told()[0].1.clone().unwrap();
    assert_eq!(reckoned.get(..45), told.get(..45), "the same day");
}
