//! What an instance's processes are given, what they can't keep, and what is refused.

use std::{fs, path::Path, process::Command, time::Duration};

use dayfly_core::{
    model::{Exit, InstanceSpec, Mount},
    ports::{Backend, BackendErrorKind as Kind, CreateRequest, JitConfig},
};

use super::ground::{Ground, shell};
use crate::suite::{Heard, controller, create, jit, pool, record, runner, watched};

/// Runs an instance to its end and gives its output too.
async fn end_of(ground: &Ground, spec: InstanceSpec) -> (Exit, Vec<String>) {
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    let heard = Heard::default();
    let exit = watched(&backend, &heard, async {
        let created = create(&backend, &runner, &spec).await;
        backend.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        heard.end_of(&runner).await.1
    })
    .await;
    let console = backend.console(&runner).await.unwrap();
    backend.destroy(&runner, false).await.unwrap();
    (exit, console)
}

#[tokio::test]
async fn an_instance_has_its_own_surroundings_and_nothing_of_the_daemons() {
    let ground = Ground::new();
    let spec = InstanceSpec {
        environment: [("NAME".to_owned(), "a value = b".to_owned())].into(),
        ..shell("pwd; env; cut -d' ' -f1,5,6 /proc/self/stat; readlink /proc/self/fd/0; exit 3")
    };
    let (exit, said) = end_of(&ground, spec).await;
    assert_eq!(exit.code, Some(3));
    let home = ground.directory().canonicalize().unwrap();
    let here =
        said.iter().find(|line| line.starts_with("HOME=")).unwrap().trim_start_matches("HOME=");
    assert!(Path::new(here).starts_with(&home), "{said:?}");
    assert!(said.contains(&here.to_owned()), "it works in its home");
    let mut names: Vec<&str> =
        said.iter().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
    names.sort_unstable();
    // What a shell sets by itself.
    names.retain(|name| !["_", "SHLVL", "OLDPWD", "PWD"].contains(name));
    let given = [
        "ACTIONS_RUNNER_INPUT_JITCONFIG",
        "DAYFLY_RUNNER",
        "HOME",
        "LANG",
        "NAME",
        "PATH",
        "TMPDIR",
    ];
    assert_eq!(names, given, "{said:?}");
    assert!(said.contains(&"NAME=a value = b".to_owned()));
    assert!(said.contains(&"/dev/null".to_owned()), "standard input is empty");
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own_session = own.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
    let stat = said.iter().find(|line| {
        line.split(' ').count() == 3 && line.starts_with(|c: char| c.is_ascii_digit())
    });
    let session = stat.unwrap().split(' ').nth(2).unwrap();
    assert_ne!(session, own_session, "a session of its own");
}

#[tokio::test]
async fn the_runner_program_is_copied_and_its_original_left_alone() {
    let ground = Ground::new();
    let image = tempfile::tempdir().unwrap();
    fs::create_dir(image.path().join("bin")).unwrap();
    fs::write(image.path().join("bin/Runner.Listener"), "program").unwrap();
    fs::write(
        image.path().join("run.sh"),
        "#!/bin/sh\ncat bin/Runner.Listener; echo x >.runner; rm run.sh; exit 5\n",
    )
    .unwrap();
    Command::new("chmod").arg("+x").arg(image.path().join("run.sh")).status().unwrap();
    let spec = InstanceSpec {
        image: image.path().to_str().unwrap().to_owned(),
        ..InstanceSpec::default()
    };
    let (exit, said) = end_of(&ground, spec).await;
    assert_eq!(exit.code, Some(5), "{exit:?}");
    assert!(said.contains(&"program".to_owned()));
    assert!(image.path().join("run.sh").exists() && !image.path().join(".runner").exists());
}

#[tokio::test]
async fn what_only_containers_have_is_refused() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let check = async |spec: InstanceSpec, kind: Kind, words: &str| {
        let (runner, pool) = (runner(backend.controller()), pool());
        let error = backend
            .create(CreateRequest { runner: &runner, pool: &pool, spec: &spec })
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.detail.contains(words), "{error}");
        assert_eq!(record(&backend, &runner).await, None, "nothing is left of it");
        let findings = backend.check(&spec).await;
        assert!(findings.iter().any(|finding| finding.result.is_err()), "{findings:?}");
    };
    let plain = || shell("exit 0");
    let mount = Mount { source: "/a".into(), target: "/b".into(), read_only: true };
    check(InstanceSpec { mounts: vec![mount], ..plain() }, Kind::NotAllowed, "`mounts`").await;
    check(InstanceSpec { user: Some("nobody".into()), ..plain() }, Kind::NotAllowed, "`user`")
        .await;
    check(InstanceSpec { network: Some("none".into()), ..plain() }, Kind::NotAllowed, "`network`")
        .await;
    check(InstanceSpec { privileged: true, ..plain() }, Kind::NotAllowed, "`privileged`").await;
    let image = |image: &str| InstanceSpec { image: image.to_owned(), ..plain() };
    check(image("/dayfly/none"), Kind::ImageMissing, "No such file").await;
    check(image("crates"), Kind::ImageMissing, "").await;
    let empty = tempfile::tempdir().unwrap();
    let spec = InstanceSpec {
        image: empty.path().to_str().unwrap().to_owned(),
        ..InstanceSpec::default()
    };
    let findings = backend.check(&spec).await;
    assert!(
        findings
            .iter()
            .any(|finding| finding.result.as_ref().is_err_and(|said| said.contains("no ./run.sh")))
    );
    let findings = backend.check(&plain()).await;
    assert!(findings.iter().all(|finding| finding.result.is_ok()), "{findings:?}");
}

#[tokio::test]
async fn a_flood_of_output_hides_no_sign_and_fills_no_disk() {
    let ground = Ground::new();
    let script = "echo ': Running job: a'; head -c 30000000 /dev/zero | tr '\\0' x; echo
        echo ': Job a completed with result: Succeeded'; sleep 0.2; exit 0";
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    let heard = Heard::default();
    watched(&backend, &heard, async {
        let created = create(&backend, &runner, &shell(script)).await;
        backend.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        let (signs, _) = heard.end_of(&runner).await;
        assert_eq!(signs.len(), 2, "{signs:?}");
    })
    .await;
    let console = ground.directory().join(runner.as_str()).join("console.log");
    assert!(fs::metadata(console).unwrap().len() < 10_000_000);
    backend.destroy(&runner, false).await.unwrap();
}

#[tokio::test]
async fn a_registration_shows_nowhere() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    let secret = format!("c2VjcmV0{}", runner.as_str().replace('-', ""));
    let created = create(&backend, &runner, &shell("echo here; exec sleep 600")).await;
    backend.hand_over(&runner, &created.id, JitConfig::new(secret.clone())).await.unwrap();
    while backend.console(&runner).await.unwrap().last().map(String::as_str) != Some("here") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let holds =
        |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    let mut knowing = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        assert!(!holds(&read("cmdline")), "{}", process.display());
        if holds(&read("environ")) {
            knowing.push(String::from_utf8(read("comm")).unwrap());
        }
    }
    assert_eq!(knowing, ["sleep\n"], "the runner has it, and neither its keeper nor anybody else");
    for entry in fs::read_dir(ground.directory().join(runner.as_str())).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            assert!(!holds(&fs::read(entry.path()).unwrap()), "{}", entry.path().display());
        }
    }
    backend.destroy(&runner, false).await.unwrap();
}

#[tokio::test]
async fn destroy_finds_every_process_and_read_only_directory() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    // One in the background, one in another session, one whose parent is gone; and what a package cache is like.
    let script =
        "sleep 600 & setsid sleep 600 & (setsid sleep 600 &) & mkdir -p cache/a; echo x >cache/a/b
        chmod -R a-w cache; echo here; wait";
    let created = create(&backend, &runner, &shell(script)).await;
    backend.hand_over(&runner, &created.id, jit("any")).await.unwrap();
    while backend.console(&runner).await.unwrap().last().map(String::as_str) != Some("here") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(ground.processes().len() >= 5, "{:?}", ground.processes());
    backend.destroy(&runner, false).await.unwrap();
    assert_eq!(ground.processes(), Vec::<u32>::new());
    assert_eq!(fs::read_dir(ground.directory()).unwrap().count(), 0);
}
