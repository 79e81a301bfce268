//! What runs in an instance: the scripts that dayfly brings, and where they leave what they have to say.
//!
//! The server shows the commands that are run in its instances, with their arguments and environment, to everybody who
//! follows its events: no registration is ever among them.
//!
//! Files of a running instance are not read through the server: LXD ends the process by which it reads them while the
//! instance ends, and a read that is under way then fails.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use reqwest::Method;
use tokio::time::{sleep, timeout};

use super::{
    client::{Body, Client},
    error::Failed,
    wire::{Exec, Operation, last_segment},
};

/// What the server says while the agent of a virtual machine is not up.
const NO_AGENT: &str = "agent isn't currently running";

/// How long a virtual machine may take to boot, and how often it is asked.
const AGENT_TIME: Duration = Duration::from_secs(240);
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);

/// Starts the keeper, once; returns when its waiter can take a registration.
pub(super) const BEGIN: &str = include_str!("begin.sh");

/// Keeps the waiter, writes down how the runner ended, and ends the instance.
pub(super) const KEEP: &str = include_str!("keep.sh");

/// Puts GitHub's runner program in, and what it needs of packages.
pub(super) const PROVISION: &str = include_str!("provision.sh");

/// Tells the waiter that its registration lies there; returns when it has taken it.
pub(super) const RING: &str = include_str!("ring.sh");

/// Says by its exit code what the runner has said.
pub(super) const SIGNS: &str = include_str!("signs.sh");

/// The last of what the runner of a running instance said.
pub(super) const LAST: &str = "tail -c 400000 /var/lib/dayfly/console 2>/dev/null";

/// Where a registration is put, for as long as it takes the waiter to open it.
pub(super) const REGISTRATION: &str = "/run/dayfly/registration";

/// How the runner ended: its exit code, as text.
pub(super) const EXIT: &str = "/var/lib/dayfly/exit";

/// What the runner said.
pub(super) const CONSOLE: &str = "/var/lib/dayfly/console";

/// The end of it, once the runner has ended.
pub(super) const TAIL: &str = "/var/lib/dayfly/tail";

/// What the pool's setup said, and what said that puts the runner program in.
pub(super) const SETUP: &str = "/var/lib/dayfly/setup";
pub(super) const PROVISIONED: &str = "/var/lib/dayfly/provision";

/// What the keeper itself had to say.
pub(super) const KEEPER: &str = "/var/lib/dayfly/keeper";

/// Runs a script in an instance as its root, and gives its exit code. A virtual machine is waited for until it has booted.
pub(super) async fn run(
    client: &Client,
    instance: &str,
    script: &[&str],
    environment: &BTreeMap<String, String>,
) -> Result<i64, Failed> {
    let ended = exec(client, instance, script, environment, false).await?;
    let code = ended.metadata["return"].as_i64();
    code.ok_or_else(|| Failed::Lost("the server does not tell how the command ended".to_owned()))
}

/// Runs a script in an instance as its root, and gives what it printed, at most `bytes_max` of it.
pub(super) async fn output(
    client: &Client,
    instance: &str,
    script: &str,
    bytes_max: usize,
) -> Result<Bytes, Failed> {
    let ended = exec(client, instance, &[script], &BTreeMap::new(), true).await?;
    let told = ended.metadata["output"]["1"].as_str();
    let Some((path, log)) = told.and_then(|path| Some((path, last_segment(path)?))) else {
        return Err(Failed::Lost("the server does not tell where the output is".to_owned()));
    };
    // Beside the instance's logs, or, with Incus and later versions of LXD, in a place of its own.
    let place = if path.contains("/logs/exec-output/") { "logs/exec-output" } else { "logs" };
    let url = client.url(&format!("/1.0/instances/{instance}/{place}/{log}"), &[]);
    let (_, text) = client.exchange(Method::GET, url.clone(), Body::Nothing, bytes_max).await?;
    // What stays goes with the instance.
    let _ = client.exchange(Method::DELETE, url, Body::Nothing, bytes_max).await;
    Ok(text)
}

async fn exec(
    client: &Client,
    instance: &str,
    script: &[&str],
    environment: &BTreeMap<String, String>,
    record_output: bool,
) -> Result<Operation, Failed> {
    let command = ["/bin/sh", "-c"].into_iter().chain(script.iter().copied()).collect();
    let exec =
        Exec { command, environment, wait_for_websocket: false, record_output, interactive: false };
    let path = format!("/1.0/instances/{instance}/exec");
    let asked = async {
        loop {
            let body = Body::json(&exec)?;
            match client.change(Method::POST, &path, &[], body).await {
                Err(Failed::Refused { words, .. } | Failed::Fell(words))
                    if words.contains(NO_AGENT) =>
                {
                    sleep(BETWEEN_QUESTIONS).await;
                }
                result => return result,
            }
        }
    };
    let ended = timeout(AGENT_TIME, asked).await;
    ended.unwrap_or_else(|_| Err(Failed::Lost("its system did not come up in time".to_owned())))
}

/// The exit code of [`BEGIN`] and [`RING`] where the instance took too long.
pub(super) const LATE: i64 = 75;

/// The exit code of a ring whose runner had ended, and the one that the keeper writes down where no runner was begun.
pub(super) const REFUSED: i64 = 78;

/// What an exit code of [`BEGIN`] or [`RING`] means.
pub(super) fn words(code: i64) -> &'static str {
    match code {
        LATE => "the instance did not get that far in time",
        76 => "the instance has taken a registration already, or its waiter has not begun",
        77 => "the keeper could not be started: the image needs /bin/sh, mkdir and setsid",
        REFUSED => "the instance's runner had ended",
        126 | 127 => "the image has no /bin/sh that can be run",
        _ => "the instance's shell failed",
    }
}

/// Whether a code is one of the scripts' own, or of a shell that there is none.
pub(super) fn has_words(code: i64) -> bool {
    matches!(code, LATE | 76 | 77 | REFUSED | 126 | 127)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Every shell that an image is likely to have; each must be on the machine that runs the tests.
    const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

    #[test]
    fn every_shell_reads_the_scripts() {
        for shell in SHELLS {
            for script in [BEGIN, KEEP, PROVISION, RING, SIGNS, LAST] {
                let read = Command::new(shell[0])
                    .args(&shell[1..])
                    .args(["-n", "-c", script])
                    .output()
                    .unwrap_or_else(|error| panic!("{shell:?} is needed for this test: {error}"));
                assert!(
                    read.status.success() && read.stderr.is_empty(),
                    "{shell:?}: {}",
                    String::from_utf8_lossy(&read.stderr)
                );
            }
        }
    }
}
