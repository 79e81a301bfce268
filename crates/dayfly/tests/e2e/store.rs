//! The store lost, damaged, copied and made anew, under the real binary.

use std::{fs, os::unix::fs::FileExt};

use dayfly_backends::process::{Process, ProcessOptions};
use dayfly_core::{
    model::{ControllerId, InstanceSpec, PoolName, RunnerName, Suffix},
    ports::{Backend, CreateRequest, InstanceStatus, Store},
};
use dayfly_store::Sqlite;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::site::{Making, Setup, Site};

impl Site {
    /// Runs `dayfly store` with this place's configuration.
    fn of_store(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let config = self.path("dayfly.yaml").display().to_string();
        let mut line = vec!["store"];
        line.extend(words);
        line.extend(["--config", &config]);
        let output = self.run(&line);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// The same, which must work, as JSON.
    fn store_json(&self, words: &[&str]) -> Value {
        let (code, out, errors) = self.of_store(&[words, &["--json"]].concat());
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}: {out}");
        serde_json::from_str(&out).unwrap()
    }

    /// The same, which must fail so, and say all of `says`.
    fn store_fails(&self, words: &[&str], code: i32, says: &[&str]) {
        let (got, out, errors) = self.of_store(words);
        assert_eq!(got, Some(code), "{words:?}: {out}{errors}");
        for says in says {
            assert!(errors.contains(says), "{words:?}: `{says}` is not in: {errors}");
        }
    }

    fn stored_controller(&self) -> ControllerId {
        Sqlite::open_read_only(&self.path("dayfly.db")).unwrap().load().unwrap().controller
    }

    /// GitHub lets go of a dead daemon's session; a store that is lost can't tell it.
    async fn until_no_session(&self) {
        self.github
            .until("no session", async |github| github.get("summary").await["sessions"] == 0)
            .await;
    }

    fn lose_store(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(self.path(&format!("dayfly.db{end}")));
        }
        assert!(!self.path("dayfly.db").exists());
    }
}

#[tokio::test]
async fn a_lost_store_is_made_anew_under_a_running_job() {
    let more = "    warm: 1\n".to_owned();
    let mut site = Site::new(Setup { more, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 15"), 1).await;
    site.github.until_jobs("running", 1).await;
    site.until(&["runners"], |runners| {
        let phase = |phase| runners.as_array().unwrap().iter().any(|row| row["phase"] == phase);
        phase("busy") && phase("warm")
    });
    let controller = site.stored_controller();
    site.store_fails(&["rebuild"], 7, &["another dayfly (process "]);
    site.store_fails(&["rebuild", "--aside"], 7, &["another dayfly (process "]);
    site.crash();
    site.lose_store();

    let look = site.store_json(&["rebuild", "--dry-run"]);
    assert!(!site.path("dayfly.db").exists(), "a dry run makes nothing");
    let made = site.store_json(&["rebuild"]);
    assert_eq!((&look["made"], &made["made"]), (&json!(false), &json!(true)));
    assert_eq!(look["runners"], made["runners"]);
    assert_eq!(made["controller"], json!(controller));
    assert_eq!(made["runners"].as_array().unwrap().len(), 2, "{made:#}");
    assert_eq!(made["scale_sets"][0]["pool"], "e2e", "{made:#}");
    assert_eq!(made["notes"], json!([]));
    assert_eq!(site.store_json(&["check"])["problems"], json!([]));
    site.store_fails(&["rebuild"], 7, &["exists", "--aside"]);

    site.until_no_session().await;
    site.start_and_wait();
    let busy = site.until(&["runners"], |runners| {
        runners.as_array().unwrap().iter().any(|runner| runner["phase"] == "busy")
    });
    assert!(busy.as_array().unwrap().len() <= 4, "{busy:#}");
    site.github.until_jobs("success", 1).await;
    // And it serves on.
    site.github.queue("acme/site", None, 2).await;
    site.github.until_jobs("success", 3).await;
    assert_eq!(site.github.get("summary").await["sets"], 1, "no second scale set was made");
    site.end_clean().await;
}

#[tokio::test]
async fn a_job_that_ended_before_the_rebuild_leaves_nothing() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 1"), 2).await;
    site.github.until_jobs("running", 2).await;
    site.crash();
    site.lose_store();
    site.github.until_jobs("success", 2).await;
    let made = site.store_json(&["rebuild"]);
    assert_eq!(made["runners"].as_array().unwrap().len(), 2, "{made:#}");
    site.until_no_session().await;
    site.start_and_wait();
    site.end_clean().await;
}

#[tokio::test]
async fn of_two_controllers_the_user_chooses() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 6"), 1).await;
    site.github.until_jobs("running", 1).await;
    site.crash();
    let controller = site.stored_controller();
    site.lose_store();

    let other = ControllerId(Uuid::from_u128(0x5eed));
    let options = ProcessOptions { directory: site.path("instances") };
    let theirs = Process::new(&options, other).unwrap();
    let pool = PoolName::new("theirs").unwrap();
    let runner = RunnerName::compose(&pool, other, Suffix::from_bits(7));
    let command = ["-c", "sleep 600"].map(str::to_owned).to_vec();
    let spec = InstanceSpec { image: "/bin/sh".into(), command, ..InstanceSpec::default() };
    theirs.create(CreateRequest { runner: &runner, pool: &pool, spec: &spec }).await.unwrap();

    let (one, two) = (controller.to_string(), other.to_string());
    site.store_fails(&["rebuild"], 7, &["2 controllers", &one, &two, "--controller"]);
    assert!(!site.path("dayfly.db").exists());
    let made = site.store_json(&["rebuild", "--controller", &one]);
    assert_eq!(made["runners"].as_array().unwrap().len(), 1, "{made:#}");
    site.until_no_session().await;
    site.start_and_wait();
    site.github.until_jobs("success", 1).await;
    site.until(&["runners"], |runners| runners.as_array().unwrap().is_empty());
    let left = theirs.inspect(&runner).await.unwrap().map(|record| record.status);
    assert!(
        matches!(left, Some(InstanceStatus::Booting | InstanceStatus::Running)),
        "another's instance is left alone: {left:?}"
    );
    theirs.destroy(&runner, true).await.unwrap();
    site.end_clean().await;
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_mended() {
    let more = "    adopt: true\n".to_owned();
    let mut site = Site::new(Setup { more, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", None, 2).await;
    site.github.until_jobs("success", 2).await;
    site.until(&["runners"], |runners| runners.as_array().unwrap().is_empty());

    // Beside the daemon: in order, and copied.
    let checked = site.store_json(&["check"]);
    assert_eq!((&checked["problems"], &checked["pools"]), (&json!([]), &json!(1)), "{checked:#}");
    let copy = site.path("copy.db").display().to_string();
    let copied = site.store_json(&["backup", &copy]);
    assert_eq!(copied["controller"], checked["controller"]);
    site.store_fails(&["backup", &copy], 7, &["overwrites nothing"]);
    let good = site.run(&["store", "check", "--store", &copy]);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    site.stop();

    // Every page but the first is overwritten.
    let path = site.path("dayfly.db");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let rest = usize::try_from(file.metadata().unwrap().len()).unwrap() - 4096;
    file.write_all_at(&vec![0x5a; rest], 4096).unwrap();
    drop(file);
    let damaged = fs::read(&path).unwrap();
    let config = site.path("dayfly.yaml").display().to_string();
    let refused = site.run(&["run", "--config", &config]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(7), "{said}");
    for command in ["dayfly store check", "dayfly store backup", "dayfly store rebuild"] {
        assert!(said.contains(command), "{said}");
    }
    let (code, out, errors) = site.of_store(&["check", "--json"]);
    assert_eq!(code, Some(7), "{out}{errors}");
    let problems: Value = serde_json::from_str(&out).unwrap();
    assert!(!problems["problems"].as_array().unwrap().is_empty(), "{out}");
    assert!(errors.contains("hint: ") && errors.contains("dayfly store rebuild"), "{errors}");
    site.store_fails(
        &["backup", &site.path("more.db").display().to_string()],
        7,
        &["malformed", "dayfly store rebuild"],
    );
    assert!(!site.path("more.db").exists());
    site.store_fails(&["rebuild"], 7, &["exists", "--aside"]);
    assert_eq!(fs::read(&path).unwrap(), damaged, "it is left as it is");

    // No instance tells whose it was. What was put aside stays aside, and the next try says so.
    site.store_fails(&["rebuild", "--aside", "--dry-run"], 7, &["--controller ID", "backup"]);
    let controller = copied["controller"].as_str().unwrap();
    let made = site.store_json(&["rebuild", "--aside", "--controller", controller]);
    assert_eq!((&made["runners"], &made["scale_sets"]), (&json!([]), &json!([])), "{made:#}");
    let note = made["notes"][0].as_str().unwrap();
    assert!(note.contains("scale set `e2e`") && note.contains("`adopt: true`"), "{note}");
    let aside = fs::read_dir(site.directory.path()).unwrap().filter_map(|entry| {
        entry
            .unwrap()
            .file_name()
            .into_string()
            .ok()
            .filter(|name| name.contains(".aside-") && name.ends_with('Z'))
    });
    let aside: Vec<_> = aside.collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(site.path(&aside[0])).unwrap(), damaged);

    site.start_and_wait();
    site.github.queue("acme/site", None, 1).await;
    site.github.until_jobs("success", 3).await;
    site.end_clean().await;
}

#[tokio::test]
async fn a_rebuild_needs_the_whole_world() {
    let more = "    min_idle: 1\n".to_owned();
    let mut site = Site::new(Setup { making: Making::Noop, more, ..Setup::default() }).await;
    site.start_and_wait();
    let controller = site.stored_controller().to_string();
    let idle =
        site.until(&["runners"], |runners| runners[0]["phase"] == "online")[0]["name"].clone();
    site.crash();
    site.lose_store();

    let with = ["rebuild", "--controller", &controller];
    site.write_secret("token", "ghp_wrongwrongwrongwrongwrongwrongwrong12");
    site.store_fails(&with, 4, &["scope", "hint: "]);
    site.write_secret("token", crate::site::TOKEN);
    let socket = site.path("load.sock");
    fs::rename(&socket, site.path("away.sock")).unwrap();
    site.store_fails(&with, 5, &["backend it"]);
    site.store_fails(&["rebuild"], 5, &["backend it"]);
    fs::rename(site.path("away.sock"), &socket).unwrap();
    assert!(!site.path("dayfly.db").exists(), "nothing is made of half a world");
    site.store_fails(&["check"], 7, &["dayfly.db"]);

    let made = site.store_json(&["rebuild"]);
    assert_eq!((&made["runners"][0]["name"], &made["controller"]), (&idle, &json!(controller)));
    site.until_no_session().await;
    site.start_and_wait();
    // One that had no job is replaced: nobody knows any more what it was made from.
    site.until(&["runners"], |runners| {
        let runners = runners.as_array().unwrap();
        runners.iter().all(|row| row["name"] != idle)
            && runners.iter().any(|row| row["phase"] == "online")
    });
    site.end_clean().await;
}
