//! What the server refuses comes through in its own words, with its kind, and leaves nothing.

use dayfly_core::{
    model::{InstanceSpec, LxdKind, LxdSpec, Mount},
    ports::{Backend, BackendErrorKind as Kind},
};

use super::server::{Sweep, cli, contract, refused, shell};

#[tokio::test]
#[ignore = "needs lxd"]
async fn refusals_keep_the_servers_words() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let check = async |spec, kind, words| refused(&lxd, spec, kind, words).await;
    let image = |image: &str| InstanceSpec { image: image.to_owned(), ..contract() };
    check(image("dayfly-none"), Kind::ImageMissing, "image").await;
    check(image("0123456789abcdef"), Kind::ImageMissing, "image").await;
    // Another server's trouble is this pool's alone.
    for image_server in ["https://127.0.0.1:1#none", "lxd+https://127.0.0.1:1#none"] {
        check(image(image_server), Kind::ImageMissing, "127.0.0.1:1").await;
    }
    check(image("nowhere:none"), Kind::NotAllowed, "remotes").await;
    check(
        InstanceSpec { network: Some("dayfly-none".into()), ..contract() },
        Kind::NotAllowed,
        "network not found",
    )
    .await;
    let mount = Mount { source: "/dayfly/none".into(), target: "/in".into(), read_only: true };
    check(
        InstanceSpec { mounts: vec![mount], ..contract() },
        Kind::NotAllowed,
        "missing source path",
    )
    .await;
    let lxd_spec = |spec: LxdSpec| InstanceSpec { lxd: Some(spec), ..contract() };
    let profiles = Some(vec!["dayfly-none".to_owned()]);
    check(lxd_spec(LxdSpec { profiles, ..LxdSpec::default() }), Kind::NotAllowed, "profile").await;
    let storage = Some("dayfly-none".to_owned());
    check(lxd_spec(LxdSpec { storage, ..LxdSpec::default() }), Kind::NotAllowed, "storage pool")
        .await;
    let config = [("dayfly.none".to_owned(), "1".to_owned())].into();
    check(
        lxd_spec(LxdSpec { config, ..LxdSpec::default() }),
        Kind::NotAllowed,
        "unknown configuration key",
    )
    .await;
    let vm = LxdSpec { kind: LxdKind::Vm, ..LxdSpec::default() };
    check(lxd_spec(vm), Kind::NotAllowed, "virtual-machine").await;
    // The instance comes up, and what the pool sets up in it fails.
    let setup = Some("echo no such package; exit 3".to_owned());
    for words in ["setup ended with exit code 3", "no such package"] {
        let spec = LxdSpec { setup: setup.clone(), ..LxdSpec::default() };
        check(lxd_spec(spec), Kind::NotAllowed, words).await;
    }
    // The instance comes up, and its keeper finds nothing to start.
    check(
        InstanceSpec { command: vec!["./nothing.sh".into()], ..contract() },
        Kind::NotAllowed,
        "the image has no ./nothing.sh",
    )
    .await;
    check(
        InstanceSpec { user: Some("nobody-there".into()), command: vec![], ..contract() },
        Kind::NotAllowed,
        "the image has no ./run.sh",
    )
    .await;
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn check_tries_the_pool_for_real() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let check = async |spec: InstanceSpec, expected: Result<&str, &str>| {
        let findings = lxd.check(&spec).await;
        let last = findings.last().unwrap();
        match (&last.result, expected) {
            (Ok(said), Ok(words)) => assert!(said.contains(words), "{findings:?}"),
            (Err(said), Err(words)) => {
                assert!(said.contains(words) && last.exit_code == 5, "{findings:?}");
            }
            _ => panic!("{findings:?}"),
        }
    };
    check(contract(), Ok("took a registration and ended")).await;
    check(InstanceSpec { command: vec![], ..contract() }, Err("no ./run.sh")).await;
    check(InstanceSpec { image: "dayfly-none".into(), ..contract() }, Err("mage ")).await;
    let stays = shell("exec sleep 100");
    let findings = lxd.check(&stays).await;
    assert!(findings.last().unwrap().result.is_err(), "{findings:?}");
    let told = findings.iter().find(|finding| finding.what.contains("storage")).unwrap();
    assert!(told.result.as_ref().unwrap().contains("copy of the whole image"), "{told:?}");
    let left = cli(&["list", "--format", "csv", "--columns", "n", "dayfly-check"]);
    assert_eq!(left, "", "no trial is left");
}
