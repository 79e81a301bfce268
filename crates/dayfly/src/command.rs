//! From the command line to what does it.

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use dayfly_runner_stub::StubArgs;

use crate::{
    arguments::{Arguments, Backend, Command, RunnerStub, Store},
    ask, backend, check, demo, failure, import, load, run, socket, store, webhook,
};

/// Does what was said, and gives the exit code.
pub fn execute(arguments: Arguments) -> ExitCode {
    // It is the only provider that is linked in: a second installation says that the first one serves.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let socket = arguments.socket.unwrap_or_else(socket::default_path);
    let json = arguments.json;
    let outcome = match arguments.command {
        Command::RunnerStub(stub) => return play(stub),
        Command::Demo(options) => on_threads(demo::run(&options, json)),
        Command::Run(options) => run::run(&options, &socket, json),
        Command::Check(options) => on_threads(check::run(&options, json)),
        Command::Import(options) => import::run(&options, json),
        Command::Backend { action: Backend::Trust(options) } => {
            on_one_thread(backend::trust(&options, json))
        }
        Command::Webhook { action } => on_threads(webhook::run(&action, json)),
        Command::Store { action: Store::Check(file) } => store::check(&file, json),
        Command::Store { action: Store::Backup(options) } => store::back_up(&options, json),
        Command::Store { action: Store::Rebuild(options) } => {
            on_threads(store::rebuild(&options, json))
        }
        Command::GithubSim(options) => on_one_thread(load::simulate(&options)),
        Command::NoopLoad(options) => load::host(&options),
        command => on_one_thread(ask::ask(command, socket, json)),
    };
    outcome.map_or_else(|error| failure::report(&error), |()| ExitCode::SUCCESS)
}

/// The stand-in for GitHub's runner: `run` is its `run.sh`, anything else its listener.
fn play(stub: RunnerStub) -> ExitCode {
    if let [word, seconds] = stub.arguments.as_slice()
        && word == "sleep"
    {
        return sleep(seconds);
    }
    let mut words = stub.arguments.into_iter().peekable();
    let wrapper = words.next_if(|word| word == "run").is_some();
    let mut jitconfig = None;
    while let Some(word) = words.next() {
        if word == "--jitconfig" {
            jitconfig = words.next();
        }
    }
    let root = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    dayfly_runner_stub::main(&StubArgs { jitconfig, root, wrapper })
}

/// The demo's jobs sleep by this program, because its image has no other.
fn sleep(seconds: &str) -> ExitCode {
    match seconds.parse() {
        Ok(seconds) => {
            std::thread::sleep(Duration::from_secs(seconds));
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn on_threads(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start the threads")?.block_on(work)
}

fn on_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(work)
}
