//! Looks for a planted bug: seeds are run with it until one breaks a promise that it keeps without it.

use std::time::Duration;

use dayfly_core::planted::{Bug, plant};
use serde::Serialize;

use crate::{Campaign, Violation, driver::run_until_broken};

/// What came of a search: the line that programs read.
#[derive(Debug, Serialize)]
pub struct Hunt {
    /// The bug.
    pub name: &'static str,
    /// Whether a check found it.
    pub found: bool,
    /// The seed in which it did.
    pub seed: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// The promise that was broken.
    pub check: Option<&'static str>,
    /// How.
    pub what: Option<String>,
}

/// Runs the seeds of a campaign with a planted bug, until it is found or `limit` is over. A seed that breaks a promise
/// without the bug too shows nothing. `elapsed` tells the time since the search began.
///
/// # Errors
/// Where the simulation itself could not be set up.
pub fn hunt(
    bug: Bug,
    campaign: &Campaign,
    limit: Duration,
    elapsed: impl Fn() -> Duration,
) -> Result<Hunt, String> {
    let first = |seed, bug| -> Result<Option<Violation>, String> {
        plant(bug);
        let report = run_until_broken(&campaign.scenario(seed));
        plant(None);
        Ok(report?.violations.into_iter().next())
    };
    let mut caught = None;
    for seed in campaign.first_seed..campaign.first_seed.saturating_add(campaign.seeds) {
        if elapsed() >= limit {
            break;
        }
        if let Some(violation) = first(seed, Some(bug))? {
            match first(seed, None)? {
                None => {
                    caught = Some((seed, violation));
                    break;
                }
                Some(own) => eprintln!("seed {seed} breaks a promise without any bug: {own}"),
            }
        }
    }
    let (seed, violation) = caught.unzip();
    Ok(Hunt {
        name: bug.name(),
        found: seed.is_some(),
        seed,
        seconds: (elapsed().as_secs_f64() * 10.0).round() / 10.0,
        check: violation.as_ref().map(|violation| violation.check.name()),
        what: violation.map(|violation| violation.what),
    })
}
