//! The commands against a running daemon, and how it ends.

use serde_json::{Value, json};

use crate::site::{Setup, Site};

fn text(output: &std::process::Output) -> (String, String, Option<i32>) {
    let words = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (words(&output.stdout), words(&output.stderr), output.status.code())
}

#[tokio::test]
async fn what_there_is_can_be_read() {
    let more = "    min_idle: 1\n".to_owned();
    let mut site = Site::new(Setup { more, ..Setup::default() }).await;
    site.start_and_wait();
    let is_online = |runners: &Value| {
        runners.as_array().unwrap().iter().any(|runner| runner["phase"] == "online")
    };
    let runners = site.until(&["runners"], is_online);
    let runner = runners[0]["name"].as_str().unwrap().to_owned();

    for words in [
        vec!["status"],
        vec!["plan"],
        vec!["runners"],
        vec!["jobs"],
        vec!["explain", "e2e"],
        vec!["explain", &runner],
    ] {
        let (people, errors, code) = text(&site.run(&words));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}");
        assert!(!people.trim().is_empty() || words == ["jobs"], "{words:?}");
        site.json(&words);
    }
    assert!(text(&site.run(&["runners"])).0.contains(&runner));

    let (out, errors, code) = text(&site.run(&["explain", "no-such-thing"]));
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(errors.contains("no-such-thing"), "{errors}");
    for words in
        [["drain", "no-such-pool"], ["remove", "e2e-aaaaaaaaaaaaaa"], ["remove", "../status"]]
    {
        let (out, errors, code) = text(&site.run(&words));
        assert_eq!((out.as_str(), code), ("", Some(1)), "{words:?}");
        assert!(errors.starts_with("error: ") && errors.contains("hint: "), "{words:?}: {errors}");
    }
    site.end_clean().await;
}

#[tokio::test]
async fn a_removed_runner_is_replaced_and_a_drained_pool_is_empty() {
    let more = "    min_idle: 1\n".to_owned();
    let mut site = Site::new(Setup { more, ..Setup::default() }).await;
    site.start_and_wait();
    let online = |runners: &Value| {
        let mut names =
            runners.as_array().unwrap().iter().filter(|runner| runner["phase"] == "online");
        names.next().map(|runner| runner["name"].as_str().unwrap().to_owned())
    };
    let first = online(&site.until(&["runners"], |runners| online(runners).is_some())).unwrap();
    site.json(&["remove", &first]);
    site.until(&["runners"], |runners| online(runners).is_some_and(|name| name != first));

    site.json(&["drain", "e2e"]);
    site.until(&["runners"], |runners| runners.as_array().unwrap().is_empty());
    site.github.queue("acme/site", None, 1).await;
    site.crash();
    site.start_and_wait();
    assert_eq!(
        site.json(&["status"])["pools"][0]["state"],
        "drained",
        "a drain outlives the daemon"
    );
    assert_eq!(site.github.jobs("success").await, 0);

    site.json(&["undrain", "e2e"]);
    site.github.until_jobs("success", 1).await;
    site.end_clean().await;
}

#[tokio::test]
async fn a_busy_runner_goes_only_with_busy() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 600"), 1).await;
    let is_busy = |runners: &Value| runners[0]["phase"] == "busy";
    let runner = site.until(&["runners"], is_busy)[0]["name"].as_str().unwrap().to_owned();
    site.json(&["remove", &runner]);
    // Refused by GitHub, and asked for no harm: the job goes on.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(site.github.jobs("running").await, 1);
    site.json(&["remove", &runner, "--busy"]);
    let of_it = |runners: &Value| {
        runners.as_array().unwrap().iter().find(|row| row["name"] == runner.as_str()).cloned()
    };
    site.until(&["runners"], |runners| of_it(runners).is_none_or(|row| row["instance"] == "gone"));
    // GitHub keeps the registration until it gives up on the job; here it does so now.
    let job = site.github.get("state").await["jobs"][0]["id"].clone();
    site.github.post(&format!("jobs/{job}/complete"), &json!({ "conclusion": "failure" })).await;
    site.until(&["runners"], |runners| of_it(runners).is_none());
    site.end_clean().await;
}

#[tokio::test]
async fn sigterm_leaves_busy_instances_and_the_next_start_adopts_them() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 4"), 1).await;
    site.github.until_jobs("running", 1).await;
    site.stop();
    assert_eq!(site.github.get("summary").await["sessions"], 0, "the session is closed");
    assert_eq!(site.github.jobs("running").await, 1, "the job runs on");
    site.start_and_wait();
    site.github.until_jobs("success", 1).await;
    site.end_clean().await;
}

#[tokio::test]
async fn drain_waits_for_busy_runners() {
    let mut site = Site::new(Setup::default()).await;
    site.start_draining();
    site.until_session();
    site.github.queue("acme/site", Some("sleep 3"), 1).await;
    site.github.until_jobs("running", 1).await;
    site.stop();
    assert_eq!(site.github.jobs("success").await, 1, "the daemon ended after its job");
}

#[tokio::test]
async fn a_second_daemon_on_the_store_is_refused() {
    let mut site = Site::new(Setup::default()).await;
    site.start_and_wait();
    let mut second = site.command(&["run", "--config"]);
    second.arg(site.path("dayfly.yaml")).env("DAYFLY_SOCKET", site.path("second.sock"));
    let (_, errors, code) = text(&second.output().unwrap());
    assert_eq!(code, Some(7), "{errors}");
    assert!(errors.contains("another dayfly"), "{errors}");
    site.end_clean().await;
}

#[tokio::test]
async fn without_a_daemon_the_exit_code_says_so() {
    let site = Site::new(Setup::default()).await;
    for words in [vec!["status"], vec!["drain", "e2e"], vec!["pool", "delete", "e2e"]] {
        let (out, errors, code) = text(&site.run(&words));
        assert_eq!((out.as_str(), code), ("", Some(6)), "{words:?}: {errors}");
        assert!(errors.contains("dayfly.sock") && errors.contains("hint: "), "{errors}");
    }
}
