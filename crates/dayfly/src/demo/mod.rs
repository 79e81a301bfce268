//! `dayfly demo`: the real daemon with real instances against a simulated GitHub, and nothing left of it.

mod child;
mod daemon;
mod docker;
mod image;
mod place;
mod screen;
mod simulator;
mod stage;
mod summary;

use std::time::Duration;

use anyhow::{Result, bail};

use self::{screen::Screen, stage::Stage};
use crate::{
    arguments::{Demo, DemoBackend},
    failure::{Code, Failure},
    run::Signals,
};

/// How often the stage is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long nothing may happen, beyond a job's own time, before the demo gives up: longer than any deadline of a runner's
/// start.
const STANDSTILL_MAX: Duration = Duration::from_secs(180);

/// Plays it.
pub async fn run(options: &Demo, json: bool) -> Result<()> {
    let mut screen = Screen::new(json);
    let mut signals = Signals::listen()?;
    let mut stage = tokio::select! {
        stage = Stage::set_up(options, &mut screen) => stage?,
        signal = signals.next() => bail!("ended by {signal} before it began"),
    };
    let played = tokio::select! {
        played = play(&mut stage, options, &mut screen) => played,
        signal = signals.next() => {
            screen.say(&format!("{signal}: ending; jobs that still run are ended too"));
            Ok(())
        }
    };
    // Whatever happened: nothing is left behind, unless the user insists.
    let summary = tokio::select! {
        cleaned = stage.clean_up(&mut screen) => cleaned,
        signal = signals.next() => bail!("ended at once by a second {signal}: instances may be left"),
    };
    drop(stage);
    played?;
    let summary = summary?;
    if json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("\n{summary}");
    }
    if summary.is_success() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, "not every job succeeded, or something is left behind").into())
}

/// Queues the jobs and watches them to their end; stays for more where it is not `--once`.
async fn play(stage: &mut Stage, options: &Demo, screen: &mut Screen) -> Result<()> {
    stage.queue(options).await?;
    let standstill = STANDSTILL_MAX + Duration::from_secs(options.seconds_per_job.into());
    let mut still = Duration::ZERO;
    let mut ended = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let state = stage.look().await?;
        still = if screen.show(&state) { Duration::ZERO } else { still + LOOK_EVERY };
        let open = state.jobs.iter().filter(|job| job.completed_at.is_none()).count();
        if open == 0 && options.once {
            return Ok(());
        }
        if open == 0 && !std::mem::replace(&mut ended, true) {
            screen.say(&format!(
                "all jobs have ended; Ctrl-C ends the demo; look around by `dayfly --socket {} status`",
                stage.socket().display()
            ));
        }
        if open > 0 && still > standstill {
            screen.say(&format!("nothing happened for {} s: giving up", standstill.as_secs()));
            return Ok(());
        }
    }
}

impl DemoBackend {
    /// As the configuration calls it.
    fn key(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}
