//! A client of the control API, for the programs that play GitHub's users: the demo, the measurements, the tests.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Why the control API could not be asked, or what it said instead.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No answer, or half of one.
    #[error("failed to ask the simulated GitHub about {what}")]
    Unanswered {
        /// What was asked.
        what: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It said no.
    #[error("the simulated GitHub refuses {what}: {status}: {words}")]
    Refused {
        /// What was asked.
        what: String,
        /// HTTP status.
        status: StatusCode,
        /// Its words.
        words: String,
    },
    /// The answer is not what was asked for.
    #[error("the simulated GitHub's answer about {what} is not understood")]
    Answer {
        /// What was asked.
        what: String,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
}

/// The control API of a simulator in another process.
#[derive(Debug, Clone)]
pub struct ControlClient {
    http: reqwest::Client,
    base: String,
}

#[derive(Debug, Deserialize)]
struct Counter {
    requests: u64,
    statuses: BTreeMap<u16, u64>,
    kind: Option<String>,
}

impl ControlClient {
    /// A simulator at an address such as `http://127.0.0.1:8123`, which must answer within `patience`.
    ///
    /// # Errors
    /// Where the HTTP client can't be made.
    pub fn new(base: String, patience: Duration) -> Result<Self, ControlError> {
        let http = reqwest::Client::builder()
            .timeout(patience)
            .no_proxy()
            // A connection to a simulator that was stopped or started anew must not be used again.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|source| ControlError::Unanswered { what: base.clone(), source })?;
        Ok(Self { http, base })
    }

    /// Its address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks.
    ///
    /// # Errors
    /// Where there is no answer, or not this one.
    pub async fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T, ControlError> {
        self.answer(what, self.http.get(self.address(what))).await
    }

    /// Brings a file.
    ///
    /// # Errors
    /// Where there is no answer, or a refusal.
    pub async fn upload(&self, what: &str, file: Vec<u8>) -> Result<Value, ControlError> {
        self.answer(what, self.http.post(self.address(what)).body(file)).await
    }

    /// Tells.
    ///
    /// # Errors
    /// Where there is no answer, or a refusal.
    pub async fn post(&self, what: &str, body: &Value) -> Result<Value, ControlError> {
        self.answer(what, self.http.post(self.address(what)).json(body)).await
    }

    /// Takes back.
    ///
    /// # Errors
    /// Where there is no answer, or a refusal.
    pub async fn delete(&self, what: &str) -> Result<Value, ControlError> {
        self.answer(what, self.http.delete(self.address(what))).await
    }

    /// How many requests the daemon made, but for polls that came back empty.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn daemon_calls(&self) -> Result<u64, ControlError> {
        let counters: BTreeMap<String, Counter> = self.get("counters").await?;
        let daemons = counters.values().filter(|counter| counter.kind.as_deref() == Some("daemon"));
        let counted = |counter: &Counter| {
            counter.requests.saturating_sub(counter.statuses.get(&202).copied().unwrap_or(0))
        };
        Ok(daemons.map(counted).sum())
    }

    fn address(&self, what: &str) -> String {
        format!("{}/control/{what}", self.base)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ControlError> {
        let unanswered = |source| ControlError::Unanswered { what: what.to_owned(), source };
        let answer = request.send().await.map_err(unanswered)?;
        let status = answer.status();
        let words = answer.text().await.map_err(unanswered)?;
        if !status.is_success() {
            return Err(ControlError::Refused { what: what.to_owned(), status, words });
        }
        serde_json::from_str(&words)
            .map_err(|source| ControlError::Answer { what: what.to_owned(), source })
    }
}
