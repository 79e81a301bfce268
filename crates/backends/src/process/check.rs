//! Trying whether a pool's processes can be made here.

use std::{fs, path::Path};

use dayfly_core::{
    model::{InstanceSpec, RunnerName, Suffix},
    ports::{Backend, CreateRequest, Finding},
};

use super::backend::Process;
use crate::waiter::DEFAULT_COMMAND;

/// The exit code of `check` for a backend that can't be used.
const EXIT_BACKEND: u8 = 5;

pub(super) async fn check(backend: &Process, spec: &InstanceSpec) -> Vec<Finding> {
    let finding =
        |what: &str, result| Finding { what: what.to_owned(), result, exit_code: EXIT_BACKEND };
    let mut findings = vec![finding(
        "what jobs may do to the host",
        Ok("plain processes are not isolated: every job has all rights of dayfly's own user"
            .to_owned()),
    )];
    let program = program(spec);
    let is_there = program.is_ok();
    findings.push(finding("the runner program", program));
    if is_there {
        findings
            .push(finding("make and start an instance of the pool", trial(backend, spec).await));
    }
    findings
}

/// Whether the image is there, and what is started of it.
fn program(spec: &InstanceSpec) -> Result<String, String> {
    let image = Path::new(&spec.image);
    let metadata = fs::metadata(image).map_err(|error| format!("{}: {error}", image.display()))?;
    if !metadata.is_dir() {
        return Ok(format!("{} is run as it is", image.display()));
    }
    let command = spec.command.first().map_or(DEFAULT_COMMAND, String::as_str);
    if command.starts_with("./") && !image.join(command).is_file() {
        return Err(format!(
            "{} holds no {command}: unpack GitHub's runner there, or set `command`",
            image.display()
        ));
    }
    let may_run = spec.environment.contains_key("RUNNER_ALLOW_RUNASROOT");
    if command == DEFAULT_COMMAND && rustix::process::geteuid().is_root() && !may_run {
        let remedy = "run dayfly as another user, or set RUNNER_ALLOW_RUNASROOT=1 in the pool's `environment`";
        return Err(format!("GitHub's runner refuses to run as root: {remedy}"));
    }
    Ok(format!("{command} in a copy of {}", image.display()))
}

/// Makes an instance that waits, and removes it.
async fn trial(backend: &Process, spec: &InstanceSpec) -> Result<String, String> {
    let pool =
        dayfly_core::model::PoolName::new("dayfly-check").map_err(|error| error.to_string())?;
    let runner = RunnerName::compose(
        &pool,
        backend.controller,
        Suffix::from_bits(u64::from(std::process::id())),
    );
    let made = backend.create(CreateRequest { runner: &runner, pool: &pool, spec }).await;
    let removed = backend.destroy(&runner, true).await;
    made.and(removed).map(|()| "it started".to_owned()).map_err(|error| error.to_string())
}
