//! Plays the demo: sets the stage, shows the jobs, clears up.

use std::{os::fd::AsFd, pin::pin, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncReadExt, net::unix::pipe};

use super::{place::Place, screen::Screen, stage::Stage};
use crate::{
    arguments::Demo,
    failure::{Code, Failure},
    run::Signals,
};

/// How often the stage is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long nothing may happen, beyond a job's own time, before the demo gives up: longer than any deadline of a runner's
/// start.
const STANDSTILL_MAX: Duration = Duration::from_secs(180);

/// What ends the demo: a signal, or the death of its guard, which holds the other end of the standard input.
struct Ends {
    signals: Signals,
    guard: Option<pipe::Receiver>,
}

impl Ends {
    fn listen() -> Result<Self> {
        let input =
            std::io::stdin().as_fd().try_clone_to_owned().context("hold the guard's pipe")?;
        let guard = pipe::Receiver::from_owned_fd(input).context("listen to the guard's pipe")?;
        Ok(Self { signals: Signals::listen()?, guard: Some(guard) })
    }

    /// Waits for the next one, and tells what it is. The guard dies once.
    async fn next(&mut self) -> &'static str {
        let death = async {
            match &mut self.guard {
                // Nothing is ever written: it is the end, or as good as.
                Some(guard) => drop(guard.read(&mut [0]).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = self.signals.next() => signal,
            () = death => {
                self.guard = None;
                "the death of its guard"
            }
        }
    }
}

/// Plays it in a directory, which it removes at the end.
pub async fn play(place: Place, options: &Demo, json: bool) -> Result<()> {
    let mut screen = Screen::new(json);
    let mut ends = Ends::listen()?;
    let (mut stage, ended) = {
        let mut set_up = pin!(Stage::set_up(place, options, &mut screen));
        tokio::select! {
            stage = &mut set_up => (stage?, None),
            // What has been begun at the engine is waited for, else it would be left there.
            end = ends.next() => tokio::select! {
                stage = &mut set_up => (stage?, Some(end)),
                second = ends.next() => bail!("ended at once by {second}: a container may be left"),
            },
        }
    };
    let played = match ended {
        None => tokio::select! {
            played = show(&mut stage, options, &mut screen) => played.map(|()| None),
            end = ends.next() => Ok(Some(end)),
        },
        ended => Ok(ended),
    };
    if let Ok(Some(end)) = played {
        screen.say(&format!("{end}: ending; jobs that still run are ended too"));
    }
    // Whatever happened: nothing is left behind, unless the user insists.
    let summary = tokio::select! {
        cleaned = stage.clean_up(&mut screen) => cleaned,
        end = ends.next() => bail!("ended at once by a second signal, {end}: instances may be left"),
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
async fn show(stage: &mut Stage, options: &Demo, screen: &mut Screen) -> Result<()> {
    stage.begin(options, screen).await?;
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
