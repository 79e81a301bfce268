//! The entry: what `run.sh` or the listener alone would do with the process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::exit::Exit;
use crate::jit::{JitConfig, JitError};
use crate::key::Use;
use crate::listener::{Console, run};

/// Environment variable with the just-in-time configuration.
const JITCONFIG: &str = "ACTIONS_RUNNER_INPUT_JITCONFIG";
/// `run.sh` waits this long before it starts the listener again.
const RESTART_WAIT_S: u64 = 5;

/// Settings of the hidden sub-command.
pub struct StubArgs {
    /// `--jitconfig`; without it, `ACTIONS_RUNNER_INPUT_JITCONFIG` is read.
    pub jitconfig: Option<String>,
    /// The runner's root directory: configuration, work folder, `_diag`.
    pub root: PathBuf,
    /// Behave as `run.sh` (restarts on 2, nearly every end becomes 0) and not as the listener alone.
    pub wrapper: bool,
}

impl std::fmt::Debug for StubArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StubArgs")
            .field("root", &self.root)
            .field("wrapper", &self.wrapper)
            .finish_non_exhaustive()
    }
}

/// Runs the stand-in runner to its end. Must be called outside any tokio runtime, and prints to standard output.
#[must_use]
pub fn main(args: &StubArgs) -> ExitCode {
    loop {
        let exit = once(args);
        if !args.wrapper {
            return ExitCode::from(exit as u8);
        }
        match exit.wrapped() {
            Some(code) => return ExitCode::from(code),
            None => std::thread::sleep(Duration::from_secs(RESTART_WAIT_S)),
        }
    }
}

fn once(args: &StubArgs) -> Exit {
    let refuse = |what: &str| {
        eprintln!("{what}");
        Exit::Terminated
    };
    if rustix::process::geteuid().is_root()
        && std::env::var_os("RUNNER_ALLOW_RUNASROOT").is_none_or(|value| value.is_empty())
    {
        return refuse("Must not run with sudo");
    }
    let blob = args.jitconfig.clone().or_else(|| std::env::var(JITCONFIG).ok());
    let Some(blob) = blob.filter(|blob| !blob.is_empty()) else {
        return refuse(&format!("Not configured: set {JITCONFIG} or pass --jitconfig"));
    };
    let config = JitConfig::decode_for(&blob, Use::Once);
    drop(blob);
    match config.and_then(|config| listen(config, &args.root)) {
        Ok(exit) => exit,
        Err(error) => refuse(&error.to_string()),
    }
}

/// Runs the listener alone, for one job, in the given root directory. Must be called outside any tokio runtime.
///
/// # Errors
/// When the configuration's files cannot be written, or the runtime cannot start.
pub fn listen(config: JitConfig, root: &Path) -> Result<Exit, JitError> {
    // Steps have another working directory, so what they are told must not depend on ours.
    let root = &std::path::absolute(root).map_err(JitError::Start)?;
    config.write(root)?;
    // One thread: the program waits most of its life, and threads cost time at the start.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(JitError::Start)?;
    let mut console = Console::open(root);
    Ok(runtime.block_on(run(Arc::new(config), root, &mut console)))
}
