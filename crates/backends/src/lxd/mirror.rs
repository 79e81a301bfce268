//! A mirror of Docker Hub for the Docker in an instance: one more line in its `/etc/docker/daemon.json`, beside what the
//! image has there.

use std::collections::BTreeMap;

use dayfly_core::ports::{BackendError, BackendErrorKind};
use serde_json::{Map, Value};

use super::{client::Client, files, guest};
use crate::failure::failure;

/// Where Docker has its settings.
const SETTINGS: &str = "/etc/docker/daemon.json";

/// The longest file of settings that is read.
const SETTINGS_BYTES_MAX: usize = 64 << 10;

const MIRRORS: &str = "registry-mirrors";

const WRITE: &str = include_str!("mirror.sh");

/// Has a running instance's Docker ask a mirror first.
pub(super) async fn put(client: &Client, instance: &str, mirror: &str) -> Result<(), BackendError> {
    let operation = format!("set the mirror of Docker Hub in instance {instance}");
    let read = files::read(client, instance, SETTINGS, SETTINGS_BYTES_MAX + 1).await;
    let there = read.map_err(|failed| failed.changing(operation.as_str(), &client.address))?;
    let refused =
        |detail: String| Err(failure(BackendErrorKind::NotAllowed, operation.as_str(), detail));
    let settings = match with_mirror(there.as_deref().unwrap_or_default(), mirror) {
        Ok(settings) => settings,
        Err(why) => return refused(format!("the image's {SETTINGS} {why}")),
    };
    let script = [WRITE, "dayfly", settings.as_str()];
    match guest::run(client, instance, &script, &BTreeMap::new()).await {
        Ok(0) => Ok(()),
        Ok(code) => refused(format!("{SETTINGS} could not be written (exit code {code})")),
        Err(failed) => Err(failed.changing(operation.as_str(), &client.address)),
    }
}

/// Docker's settings with a mirror before the others, or what is wrong with them.
fn with_mirror(there: &[u8], mirror: &str) -> Result<String, String> {
    if there.len() > SETTINGS_BYTES_MAX {
        return Err(format!("is longer than {SETTINGS_BYTES_MAX} bytes"));
    }
    let mut settings: Map<String, Value> = if there.trim_ascii().is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(there).map_err(|error| format!("is no JSON object: {error}"))?
    };
    let mirrors = settings.entry(MIRRORS).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(mirrors) = mirrors else {
        return Err(format!("has a `{MIRRORS}` that is no list"));
    };
    mirrors.retain(|known| known != mirror);
    mirrors.insert(0, mirror.into());
    serde_json::to_string(&settings).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    const MIRROR: &str = "https://mirror.example:5000";

    #[test]
    fn a_mirror_comes_first_and_all_else_stays() {
        let check = |there: &str, expected: Result<&str, &str>| match (
            with_mirror(there.as_bytes(), MIRROR),
            expected,
        ) {
            (Ok(made), Ok(expected)) => {
                let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(read(&made), read(expected), "{there}");
            }
            (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
            (made, _) => panic!("{there}: {made:?}"),
        };
        let alone = r#"{"registry-mirrors":["https://mirror.example:5000"]}"#;
        check("", Ok(alone));
        check(" \n", Ok(alone));
        check("{}", Ok(alone));
        check(alone, Ok(alone));
        check(
            r#"{"debug":true,"registry-mirrors":["https://a","https://mirror.example:5000"]}"#,
            Ok(r#"{"debug":true,"registry-mirrors":["https://mirror.example:5000","https://a"]}"#),
        );
        check("[]", Err("no JSON object"));
        check("{", Err("no JSON object"));
        check(r#"{"registry-mirrors":"https://a"}"#, Err("no list"));
        check(&" ".repeat(SETTINGS_BYTES_MAX + 1), Err("longer"));
    }

    #[test]
    fn it_is_written_and_a_running_docker_is_told() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let path = |name: &str| root.path().join(name);
            let write = |text: &str| {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-c", WRITE, "dayfly", text]).arg(root.path());
                assert!(command.status().unwrap().success());
                fs::read_to_string(path("etc/docker/daemon.json")).unwrap()
            };
            assert_eq!(write("{\"a\": 1}"), "{\"a\": 1}\n");
            let mut docker = Command::new("sleep").arg("100").spawn().unwrap();
            fs::create_dir(path("run")).unwrap();
            fs::write(path("run/docker.pid"), docker.id().to_string()).unwrap();
            assert_eq!(write("{}"), "{}\n");
            // What does not handle it ends by it.
            assert!(!docker.wait().unwrap().success());
            // One that is gone is nobody's error.
            assert_eq!(write("{}"), "{}\n");
        }
    }
}
