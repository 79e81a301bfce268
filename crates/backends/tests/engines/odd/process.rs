//! Files of a process instance that a job, a full disk or a crash has spoiled.

use std::fs;

use dayfly_backends::process::{Process, ProcessOptions};
use dayfly_core::ports::Backend;
use proptest::prelude::*;
use serde_json::json;
use tokio::time::timeout;

use super::accident::{Accident, CASES, TIME_MAX, accident, check};
use crate::suite::{controller, runner};

const FILES: [&str; 4] = ["tag.json", "start", "exit", "console.log"];

async fn ask(file: &str, accident: &Accident) {
    let home = tempfile::tempdir().unwrap();
    let controller = controller();
    let runner = runner(controller);
    let options = ProcessOptions { directory: home.path().join("instances") };
    let process = Process::new(&options, controller).unwrap();
    let directory = options.directory.join(runner.as_str());
    fs::create_dir(&directory).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let tag = json!({ "controller": controller, "pool": runner.pool(), "runner": runner, "boot": boot.trim() });
    // A number that no process bears.
    let start = "99999999 (sh (x) y) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
    let console = "2026-11-21 08:00:00Z: Listening for Jobs\nhalf a line";
    let sound = [tag.to_string(), start.to_owned(), "7\n".to_owned(), console.to_owned()];
    for (name, sound) in FILES.into_iter().zip(&sound) {
        let bytes = if name == file {
            accident.befall(sound.as_bytes())
        } else {
            sound.clone().into_bytes()
        };
        fs::write(directory.join(name), bytes).unwrap();
    }
    let asked = async {
        let listed = check(process.list().await);
        let found = check(process.inspect(&runner).await);
        if file != "tag.json" {
            assert_eq!(
                listed.map(|listed| listed.len()),
                Some(1),
                "the tag alone tells whose it is"
            );
            assert!(found.flatten().is_some());
        }
        let lines = check(process.console(&runner).await).unwrap_or_default();
        assert!(lines.len() <= 200 && lines.iter().all(|line| line.chars().count() <= 500));
        check(Process::controllers(&options));
    };
    timeout(TIME_MAX, asked).await.expect("in time");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_of_an_instance_is_read_or_refused(
        file in prop::sample::select(FILES.to_vec()),
        accident in accident(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(file, &accident));
    }
}
