//! `dayfly github-sim`.

use anyhow::Result;
use dayfly_github_sim::{Options, SimArgs};

use crate::arguments::GithubSim;

/// Serves until it is told to end.
pub async fn simulate(options: &GithubSim) -> Result<()> {
    let GithubSim { listen, port_file, seed } = options.clone();
    dayfly_github_sim::run(SimArgs { listen, port_file, seed, options: Options::default() })
        .await?;
    Ok(())
}
