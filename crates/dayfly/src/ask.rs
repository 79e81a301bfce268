//! The commands that speak with a running daemon.

use std::path::PathBuf;

use anyhow::Result;
use dayfly_core::report::{Explanation, JobView, PlanView, RunnerView};
use dayfly_server::{Accepted, FlushPool, RemoveRunner, StatusDocument};
use jiff::Timestamp;
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use crate::{
    arguments::{Command, Pool},
    client::Client,
    failure::{Code, Failure},
    table,
};

/// Asks the daemon, and prints its answer.
pub async fn ask(command: Command, socket: PathBuf, json: bool) -> Result<()> {
    let client = Client::new(&socket)?;
    match command {
        Command::Status => {
            let status: StatusDocument = client.get("/v1/status", &[]).await?;
            print(json, &status, table::status)
        }
        Command::Plan => print(json, &client.get::<PlanView>("/v1/plan", &[]).await?, table::plan),
        Command::Runners => {
            let runners: Vec<RunnerView> = client.get("/v1/runners", &[]).await?;
            print(json, &runners, |runners| table::runners(runners, now()))
        }
        Command::Jobs => {
            let jobs: Vec<JobView> = client.get("/v1/jobs", &[]).await?;
            print(json, &jobs, |jobs| table::jobs(jobs, now()))
        }
        Command::Explain { what } => {
            let explained: Explanation = client.get("/v1/explain", &[("what", &what)]).await?;
            print(json, &explained, table::explanation)
        }
        Command::Remove { runner, busy } => {
            let body = RemoveRunner { even_busy: busy };
            tell(
                json,
                &client.send_to(Method::POST, &["v1", "runners", &runner, "remove"], &body).await?,
            )
        }
        Command::Flush { pool, busy } => {
            let body = FlushPool { even_busy: busy };
            tell(
                json,
                &client.send_to(Method::POST, &["v1", "pools", &pool, "flush"], &body).await?,
            )
        }
        Command::Drain { pool } => tell(
            json,
            &client.send_to(Method::POST, &["v1", "pools", &pool, "drain"], &json!({})).await?,
        ),
        Command::Undrain { pool } => tell(
            json,
            &client.send_to(Method::POST, &["v1", "pools", &pool, "undrain"], &json!({})).await?,
        ),
        Command::Pool { action: Pool::Delete { pool } } => {
            tell(json, &client.send_to(Method::DELETE, &["v1", "pools", &pool], &json!({})).await?)
        }
        Command::Demo(_)
        | Command::Run(_)
        | Command::Check(_)
        | Command::Import(_)
        | Command::Backend { .. }
        | Command::Webhook { .. }
        | Command::Store { .. }
        | Command::GithubSim(_)
        | Command::RunnerStub(_)
        | Command::NoopLoad(_) => Err(Failure::new(
            Code::Failed,
            "this command asks no daemon; please report this as a bug",
        )
        .into()),
    }
}

fn tell(json: bool, accepted: &Accepted) -> Result<()> {
    print(json, accepted, |accepted| accepted.message.clone())
}

/// Prints a document: as JSON, or as people read it.
fn print<T: Serialize>(json: bool, document: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    let text = if json { serde_json::to_string(document)? } else { text(document) };
    println!("{text}");
    Ok(())
}

/// The wall clock, for ages that people read.
#[expect(
    clippy::disallowed_methods,
    reason = "shown to people beside the daemon's own times; nothing is decided by it"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
