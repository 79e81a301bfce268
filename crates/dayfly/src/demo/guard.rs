//! The process that the user starts. It starts the demo as its child and passes signals on. Whichever is killed, the other clears
//! up: the demo ends when its standard input does, whose other end the guard holds; the guard removes what a killed demo left.

use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Command;

use super::{place::Place, player, stage};
use crate::{
    arguments::Demo,
    failure::{Code, Failure},
    run::Signals,
};

/// Tells the child its directory, and that it is the child.
pub(super) const PLACE: &str = "DAYFLY_DEMO_PLACE";

/// Plays the demo, guarded.
pub async fn run(options: &Demo, json: bool) -> Result<()> {
    match std::env::var_os(PLACE) {
        Some(path) => player::play(Place::at(path.into()), options, json).await,
        None => guard().await,
    }
}

async fn guard() -> Result<()> {
    let mut signals = Signals::listen()?;
    let place = Place::make()?;
    let program = std::env::current_exe().context("find this program's own file")?;
    // A process group of its own: Ctrl-C reaches the guard alone, and the group can be ended as one.
    let mut player = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(PLACE, place.path())
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("start the demo")?;
    let id = player.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let id = id.context("the demo has no process id")?;
    // Closed by this process's end, whatever kind of end that is.
    let _alive = player.stdin.take();
    let status = loop {
        tokio::select! {
            status = player.wait() => break status.context("wait for the demo")?,
            signal = signals.next() => {
                let signal = if signal == "SIGINT" { Signal::INT } else { Signal::TERM };
                // It may have ended in this moment: the wait tells.
                let _ = kill_process(id, signal);
            }
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        // It has said why.
        Some(code) => {
            drop(place);
            std::process::exit(code)
        }
        None => {
            // Its daemon and its simulator are of its group; instances are not.
            let _ = kill_process_group(id, Signal::KILL);
            let left = stage::sweep(&place).await?;
            let what =
                format!("the demo was killed: {status}; {} instances are removed", left.instances);
            Err(Failure::new(Code::Failed, what).into())
        }
    }
}
