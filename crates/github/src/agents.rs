//! Registrations as the Actions service keeps them: made, found by name, removed (protocol.md, 4.1). None of this costs
//! the credential's REST quota, but for making one outside any set, which only the public REST API does (4.2).

use std::{sync::Arc, time::Duration};

use dayfly_core::{
    effect::Membership,
    model::{RegistrationId, RunnerGroupId, RunnerName, ScaleSetId},
    ports::{ForgeError, ForgeErrorKind, JitConfig, Minted, TransportError},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time;

use crate::{
    client::Shared,
    operation::Operation,
    refusal::{Surface, error, unanswered, unreadable},
    scale_sets::{Listed, json},
    service::{Call, read},
    wire::Manner,
};

/// Live configurations are about 4 KiB; an environment variable may hold 128 KiB.
const JIT_MAX: usize = 64 * 1024;

/// The runner's own default for the folder of its jobs.
pub(crate) const WORK_FOLDER: &str = "_work";

/// The waits before a mint is settled and tried again after a lost answer or 5xx.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];

const AGENTS: [&str; 5] = ["_apis", "distributedtask", "pools", "0", "agents"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewAgent<'a> {
    name: &'a str,
    work_folder: &'static str,
}

#[derive(Deserialize)]
struct MintedWire {
    runner: MintedAgent,
    #[serde(rename = "encodedJITConfig")]
    jit: String,
}

#[derive(Deserialize)]
struct MintedAgent {
    id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    id: i64,
    name: String,
    #[serde(default)]
    runner_scale_set_id: i64,
}

/// What came of one attempt to mint; an error beside it says that nothing was made.
pub(crate) enum Attempt {
    Minted(Minted),
    /// The name is, or may be, registered without us having its configuration.
    InDoubt(ForgeError),
}

impl Shared {
    pub async fn mint(
        self: &Arc<Self>,
        set: ScaleSetId,
        runner: &RunnerName,
    ) -> Result<Minted, ForgeError> {
        self.make(&Operation::Mint(runner, set), &Membership::ScaleSet(set), runner).await
    }

    pub async fn register_alone(
        self: &Arc<Self>,
        group: RunnerGroupId,
        labels: &[String],
        runner: &RunnerName,
    ) -> Result<Minted, ForgeError> {
        let alone = Membership::Alone { group, labels: labels.into() };
        self.make(&Operation::Register(runner, group), &alone, runner).await
    }

    async fn make(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        membership: &Membership,
        runner: &RunnerName,
    ) -> Result<Minted, ForgeError> {
        let generate = async || match membership {
            Membership::ScaleSet(set) => self.generate(operation, *set, runner).await,
            Membership::Alone { group, labels } => {
                self.generate_alone(operation, *group, labels, runner).await
            }
        };
        // The service shows 0 for the set of a runner that is in none.
        let set = match membership {
            Membership::ScaleSet(set) => *set,
            Membership::Alone { .. } => ScaleSetId(0),
        };
        let mut doubt = match generate().await? {
            Attempt::Minted(minted) => return Ok(minted),
            Attempt::InDoubt(doubt) => doubt,
        };
        for wait in WAITS {
            if doubt.kind == ForgeErrorKind::Transient {
                time::sleep(wait).await;
            }
            // Cut between GitHub's making the registration and our reading the answer: nobody has its configuration,
            // so what may be there is removed and made anew.
            self.clear_name(operation, set, runner).await.map_err(in_doubt)?;
            doubt = match generate().await.map_err(in_doubt)? {
                Attempt::Minted(minted) => return Ok(minted),
                Attempt::InDoubt(doubt) => doubt,
            };
        }
        Err(doubt)
    }

    async fn generate(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        set: ScaleSetId,
        runner: &RunnerName,
    ) -> Result<Attempt, ForgeError> {
        let set_text = set.to_string();
        let path = ["_apis", "runtime", "runnerscalesets", &set_text, "generatejitconfig"];
        let body = json(operation, &NewAgent { name: runner.as_str(), work_folder: WORK_FOLDER })?;
        let call = Call { body, manner: Manner::Once, ..Call::on_set(Method::POST, &path, set) };
        let (admin, answer) = self.service_answer(operation, &call).await?;
        let response = match answer {
            Ok(response) => response,
            Err(cause) => {
                let failure = unanswered(operation, admin.authorization.token(), &cause);
                return match cause {
                    TransportError::NoAnswer { .. } => Ok(Attempt::InDoubt(failure)),
                    TransportError::Connect { .. } | TransportError::Tls { .. } => Err(failure),
                };
            }
        };
        if !response.status().is_success() {
            let refusal =
                self.judge(operation, call.surface, &admin.authorization).judge(&response);
            return match refusal.kind {
                ForgeErrorKind::Conflict | ForgeErrorKind::Transient => {
                    Ok(Attempt::InDoubt(refusal))
                }
                _ => Err(refusal),
            };
        }
        Ok(
            match read::<MintedWire>(operation, &response, "no registration with its configuration")
            {
                Ok(wire) => sound(operation, Surface::Service, wire.runner.id, wire.jit),
                Err(odd) => Attempt::InDoubt(odd),
            },
        )
    }

    /// Frees a runner's name, if the one that has it is of the same set and has no job.
    async fn clear_name(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        set: ScaleSetId,
        runner: &RunnerName,
    ) -> Result<(), ForgeError> {
        let call =
            Call { query: &[("agentName", runner.as_str())], ..Call::new(Method::GET, &AGENTS) };
        let response = self.service(operation, &call).await?;
        let agents: Listed<Agent> = read(operation, &response, "no list of runners")?;
        let of_name = |agent: &&Agent| agent.name.eq_ignore_ascii_case(runner.as_str());
        let Some(agent) = agents.value.iter().find(of_name) else {
            return Ok(());
        };
        if agent.runner_scale_set_id != set.0 {
            let detail = format!(
                "a runner of that name exists already, with id {} and {}; remove it if it is yours",
                agent.id,
                if set.0 == 0 { "in a scale set" } else { "not in this scale set" }
            );
            return Err(error(operation, ForgeErrorKind::Conflict, &detail));
        }
        match self.remove_agent(operation, RegistrationId(agent.id)).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.kind == ForgeErrorKind::Busy => {
                let detail =
                    format!("the runner of that name already runs a job; {}", refusal.detail);
                Err(error(operation, ForgeErrorKind::Conflict, &detail))
            }
            Err(refusal) => Err(refusal),
        }
    }

    pub async fn remove_runner(self: &Arc<Self>, id: RegistrationId) -> Result<bool, ForgeError> {
        self.remove_agent(&Operation::RemoveRunner(id), id).await
    }

    async fn remove_agent(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        id: RegistrationId,
    ) -> Result<bool, ForgeError> {
        let id_text = id.to_string();
        let path = [AGENTS[0], AGENTS[1], AGENTS[2], AGENTS[3], AGENTS[4], &id_text];
        match self.service(operation, &Call::new(Method::DELETE, &path)).await {
            Ok(response) if response.status() == StatusCode::NO_CONTENT => Ok(true),
            // Consent is 204 and nothing else: something between us and the service can answer 200 by itself.
            Ok(response) => {
                let what = format!("it answered {} and not 204", response.status().as_u16());
                Err(error(operation, ForgeErrorKind::Transient, &what))
            }
            // By the service's own class only: a router's 404 is no proof that the runner is gone.
            Err(refusal) if refusal.kind == ForgeErrorKind::NotFound => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
}

/// A registration whose configuration has a size that can be true.
pub(crate) fn sound(operation: &Operation<'_>, surface: Surface, id: i64, jit: String) -> Attempt {
    if jit.is_empty() || jit.len() > JIT_MAX {
        let what =
            format!("a configuration of {} bytes, where 1 to {JIT_MAX} are sound", jit.len());
        return Attempt::InDoubt(unreadable(operation, surface, &what));
    }
    Attempt::Minted(Minted { id: RegistrationId(id), jit: JitConfig::new(jit) })
}

/// A refusal after an attempt that may have been carried out. Kinds that say "nothing was made" would then be untrue: the
/// planner must go on to think that the name may be registered.
fn in_doubt(refusal: ForgeError) -> ForgeError {
    let kind = match refusal.kind {
        ForgeErrorKind::RateLimited(_)
        | ForgeErrorKind::Unauthorized
        | ForgeErrorKind::NotAllowed(_)
        | ForgeErrorKind::Refused => ForgeErrorKind::Transient,
        kind => kind,
    };
    ForgeError { kind, ..refusal }
}
