//! What the engine refuses comes through in its own words, with its kind, and leaves nothing.

use dayfly_core::{
    model::{InstanceSpec, Mount, PullPolicy},
    ports::{Backend, BackendErrorKind as Kind, CreateRequest},
};

use super::engine::{Sweep, cli, contract};
use crate::suite::{pool, record, runner};

#[tokio::test]
#[ignore = "needs dockerd"]
async fn refusals_keep_the_engines_words() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let check = async |spec: InstanceSpec, kind: Kind, words: &str| {
        let (runner, pool) = (runner(docker.controller()), pool());
        let error = docker
            .create(CreateRequest { runner: &runner, pool: &pool, spec: &spec })
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.detail.to_lowercase().contains(words), "{error}");
        assert_eq!(record(&docker, &runner).await, None, "nothing is left of it");
    };
    let image = |image: &str, pull| InstanceSpec { image: image.to_owned(), pull, ..contract() };
    check(
        image("localhost/dayfly-test/none:1", PullPolicy::Never),
        Kind::ImageMissing,
        "no such image",
    )
    .await;
    check(image("127.0.0.1:1/none:1", PullPolicy::Missing), Kind::Transient, "connection refused")
        .await;
    check(image("Not An Image", PullPolicy::Never), Kind::NotAllowed, "invalid reference").await;
    let devices = |device: &str| InstanceSpec { devices: vec![device.to_owned()], ..contract() };
    check(devices("/dev/dayfly-none"), Kind::NotAllowed, "/dev/dayfly-none").await;
    check(devices("fuse"), Kind::NotAllowed, "write it as").await;
    check(
        InstanceSpec { runtime: Some("none".into()), ..contract() },
        Kind::NotAllowed,
        "unknown runtime",
    )
    .await;
    check(
        InstanceSpec { network: Some("dayfly-none".into()), ..contract() },
        Kind::NotAllowed,
        "not found",
    )
    .await;
    check(
        InstanceSpec { memory_bytes: Some(1 << 20), ..contract() },
        Kind::NotAllowed,
        "minimum memory",
    )
    .await;
    check(
        InstanceSpec { cpu_millis: Some(9_000_000), ..contract() },
        Kind::NotAllowed,
        "range of cpus",
    )
    .await;
    check(
        InstanceSpec { user: Some("dayfly-none".into()), ..contract() },
        Kind::NotAllowed,
        "unable to find user",
    )
    .await;
    check(
        InstanceSpec { capabilities_add: vec!["NONE".into()], ..contract() },
        Kind::NotAllowed,
        "none",
    )
    .await;
    let mount = Mount { source: "/dayfly/none".into(), target: "/in".into(), read_only: true };
    check(InstanceSpec { mounts: vec![mount], ..contract() }, Kind::NotAllowed, "does not exist")
        .await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn an_image_without_a_shell_is_refused_and_checked() {
    let image = "localhost/dayfly-test/empty:1";
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let nothing = tempfile::tempdir().unwrap();
    let tar = std::process::Command::new("tar")
        .arg("-C")
        .arg(nothing.path())
        .args(["-c", "."])
        .output()
        .unwrap();
    docker.import_image(image, tar.stdout.into(), "/").await.unwrap();
    let spec = InstanceSpec { image: image.to_owned(), ..contract() };
    let (runner, pool) = (runner(docker.controller()), pool());
    let error = docker
        .create(CreateRequest { runner: &runner, pool: &pool, spec: &spec })
        .await
        .unwrap_err();
    let findings = docker.check(&spec).await;
    cli(&["rmi", image]);
    assert_eq!(error.kind, Kind::NotAllowed);
    assert!(error.detail.contains("/bin/sh"), "{error}");
    assert!(
        findings.last().unwrap().result.as_ref().unwrap_err().contains("/bin/sh"),
        "{findings:?}"
    );
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn a_container_that_is_not_ours_is_left_alone() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let (runner, pool) = (runner(docker.controller()), pool());
    let spec = contract();
    let id = cli(&["create", "--name", runner.as_str(), &spec.image, "/bin/sh"]);
    let made = docker.create(CreateRequest { runner: &runner, pool: &pool, spec: &spec }).await;
    let destroyed = docker.destroy(&runner, true).await;
    let seen = record(&docker, &runner).await;
    let still = cli(&["ps", "-aq", "--no-trunc", "--filter", &format!("name={runner}")]);
    cli(&["rm", id.trim()]);
    assert_eq!(made.unwrap_err().kind, Kind::NotAllowed);
    assert_eq!(destroyed.unwrap_err().kind, Kind::NotAllowed);
    assert_eq!(seen, None);
    assert_eq!(still, id);
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn check_tries_the_pool_for_real() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let check = async |spec: InstanceSpec, expected: Result<&str, &str>| {
        let findings = docker.check(&spec).await;
        let last = findings.last().unwrap();
        match (&last.result, expected) {
            (Ok(said), Ok(words)) => assert!(said.contains(words), "{findings:?}"),
            (Err(said), Err(words)) => {
                assert!(said.contains(words) && last.exit_code == 5, "{findings:?}");
            }
            _ => panic!("{findings:?}"),
        }
    };
    check(contract(), Ok("found the pool's command")).await;
    check(InstanceSpec { command: vec![], ..contract() }, Err("no ./run.sh in /home/runner")).await;
    check(InstanceSpec { network: Some("dayfly-none".into()), ..contract() }, Err("not found"))
        .await;
    check(
        InstanceSpec { image: "localhost/dayfly-test/none:1".into(), ..contract() },
        Err("pull: never"),
    )
    .await;
    assert_eq!(cli(&["ps", "-aq", "--filter", "label=dev.dayfly.check"]), "", "no trial is left");
}
