//! Registrations outside any scale set, by the public REST API (protocol.md, 4.2): each costs one request of the credential's
//! hour.

use std::sync::Arc;

use dayfly_core::{
    model::{RunnerGroupId, RunnerName},
    ports::{ForgeError, ForgeErrorKind, TransportError},
};
use serde::{Deserialize, Serialize};

use crate::{
    agents::{Attempt, WORK_FOLDER, sound},
    client::Shared,
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, unanswered, unreadable, without_bom},
    scale_sets::json,
};

#[derive(Serialize)]
struct NewRunner<'a> {
    name: &'a str,
    runner_group_id: i64,
    labels: &'a [String],
    work_folder: &'static str,
}

#[derive(Deserialize)]
struct Made {
    runner: Runner,
    encoded_jit_config: String,
}

#[derive(Deserialize)]
struct Runner {
    id: i64,
}

impl Shared {
    /// One attempt to register a runner by itself. An error says that nothing was made.
    pub async fn generate_alone(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        group: RunnerGroupId,
        labels: &[String],
        runner: &RunnerName,
    ) -> Result<Attempt, ForgeError> {
        let url = self.address.scope_url(&["actions", "runners", "generate-jitconfig"]);
        let new = NewRunner {
            name: runner.as_str(),
            runner_group_id: group.0,
            labels,
            work_folder: WORK_FOLDER,
        };
        let (authorization, answer) =
            self.rest_once(operation, &url, json(operation, &new)?).await?;
        let response = match answer {
            Ok(response) => response,
            Err(cause) => {
                let failure = unanswered(operation, authorization.token(), &cause);
                return match cause {
                    TransportError::NoAnswer { .. } => Ok(Attempt::InDoubt(failure)),
                    TransportError::Connect { .. } | TransportError::Tls { .. } => Err(failure),
                };
            }
        };
        if !response.status().is_success() {
            let refusal = self.rest_refusal(
                operation,
                Surface::Rest,
                Bucket::Core,
                &authorization,
                &response,
            );
            return match refusal.kind {
                ForgeErrorKind::Conflict | ForgeErrorKind::Transient => {
                    Ok(Attempt::InDoubt(refusal))
                }
                _ => Err(refusal),
            };
        }
        Ok(match serde_json::from_slice::<Made>(without_bom(response.body())) {
            Ok(made) => sound(operation, Surface::Rest, made.runner.id, made.encoded_jit_config),
            Err(_) => {
                let what = "it holds no registration with its configuration";
                Attempt::InDoubt(unreadable(operation, Surface::Rest, what))
            }
        })
    }
}
