//! What crashes of the daemon, of an instance and of the machine leave.

use std::{fs, process::Command};

use dayfly_core::ports::{Backend, CreateRequest, InstanceStatus};

use super::ground::{Ground, shell};
use crate::suite::{Heard, controller, create, ended, jit, pool, record, runner, watched};

#[tokio::test]
async fn a_keeper_that_is_killed_has_no_exit_code() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    let heard = Heard::default();
    watched(&backend, &heard, async {
        create(&backend, &runner, &shell("exit 0")).await;
        let start =
            fs::read_to_string(ground.directory().join(runner.as_str()).join("start")).unwrap();
        Command::new("kill").args(["-KILL", start.split(' ').next().unwrap()]).status().unwrap();
        let (_, exit) = heard.end_of(&runner).await;
        assert_eq!(exit.code, None);
        assert!(exit.error.is_some());
    })
    .await;
    backend.destroy(&runner, false).await.unwrap();
}

#[tokio::test]
async fn an_instance_of_an_earlier_start_of_the_machine_has_ended_and_its_number_is_anothers() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    create(&backend, &runner, &shell("exit 0")).await;
    let directory = ground.directory().join(runner.as_str());
    // The process that bears the number now is a bystander.
    let mut bystander = Command::new("setsid").args(["sleep", "600"]).spawn().unwrap();
    let old = fs::read_to_string(directory.join("start")).unwrap();
    Command::new("kill").args(["-KILL", old.split(' ').next().unwrap()]).status().unwrap();
    ended(&backend, &runner).await;
    let number = fs::read_to_string(format!("/proc/{}/stat", bystander.id())).unwrap();
    let check = async |start: &str, boot: Option<&str>, words: &str| {
        fs::write(directory.join("start"), start).unwrap();
        if let Some(boot) = boot {
            let tag = fs::read_to_string(directory.join("tag.json")).unwrap();
            let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            fs::write(directory.join("tag.json"), tag.replace(now.trim(), boot)).unwrap();
        }
        match record(&backend, &runner).await.unwrap().status {
            InstanceStatus::Ended(exit) => {
                assert!(exit.error.as_ref().unwrap().contains(words), "{exit:?}");
            }
            other => panic!("{other:?}"),
        }
    };
    // The same number, another time of beginning; then the very same line, but of an earlier start of the machine.
    let mut fields: Vec<&str> = number.split(' ').collect();
    fields[21] = "1";
    check(&fields.join(" "), None, "killed").await;
    check(&number, Some("00000000-0000-0000-0000-000000000000"), "restarted").await;
    backend.destroy(&runner, true).await.unwrap();
    assert!(bystander.try_wait().unwrap().is_none(), "a bystander is not killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert_eq!(record(&backend, &runner).await, None);
}

#[tokio::test]
async fn a_create_that_broke_off_is_shown_and_mended() {
    let ground = Ground::new();
    let controller = controller();
    let backend = ground.connect(controller);
    let (broken, half) = (runner(controller), runner(controller));
    let spec = shell("exit 4");
    // The directory as it is between its making and the keeper's start.
    create(&backend, &broken, &spec).await;
    let directory = ground.directory().join(broken.as_str());
    let tag = fs::read(directory.join("tag.json")).unwrap();
    backend.destroy(&broken, true).await.unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("tag.json"), tag).unwrap();
    let (old, new) = (format!(".half-{half}"), format!(".half-{}", runner(controller)));
    fs::create_dir(ground.directory().join(&old)).unwrap();
    fs::create_dir(ground.directory().join(&new)).unwrap();
    let touched = Command::new("touch")
        .args(["-d", "1 hour ago"])
        .arg(ground.directory().join(&old))
        .status();
    assert!(touched.unwrap().success());
    drop(backend);

    let backend = ground.connect(controller);
    assert!(!ground.directory().join(&old).exists(), "what was half made is gone");
    assert!(ground.directory().join(&new).exists(), "what is being made is not");
    assert_eq!(record(&backend, &broken).await.unwrap().status, InstanceStatus::Booting);
    let heard = Heard::default();
    watched(&backend, &heard, async {
        let created = create(&backend, &broken, &spec).await;
        assert!(created.ready);
        backend.hand_over(&broken, &created.id, jit("any")).await.unwrap();
        assert_eq!(heard.end_of(&broken).await.1.code, Some(4));
    })
    .await;
    backend.destroy(&broken, false).await.unwrap();
}

#[tokio::test]
async fn what_stands_there_without_a_tag_is_left_alone() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let (runner, pool) = (runner(backend.controller()), pool());
    let theirs = ground.directory().join(runner.as_str());
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("file"), "theirs").unwrap();
    let spec = shell("exit 0");
    assert!(
        backend.create(CreateRequest { runner: &runner, pool: &pool, spec: &spec }).await.is_err()
    );
    assert!(backend.destroy(&runner, true).await.is_err());
    assert_eq!(fs::read_to_string(theirs.join("file")).unwrap(), "theirs");
    fs::create_dir(ground.directory().join("notes")).unwrap();
    fs::remove_dir_all(&theirs).unwrap();
    assert_eq!(backend.list().await.unwrap(), []);
}
