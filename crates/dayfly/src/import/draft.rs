//! The configuration that is being made, and how it is written.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_saphyr::FlowSeq;

/// The scope's address where the file does not tell it.
const UNKNOWN_URL: &str = "https://github.com/OWNER";

/// A configuration in the making.
#[derive(Debug, Default, Serialize)]
pub struct Draft {
    pub github: Vec<Scope>,
    pub backends: BTreeMap<String, BudgetedBackend>,
    pub pools: Vec<Pool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// What was not carried over, and what is still to be done.
    #[serde(skip)]
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Scope {
    pub name: String,
    pub url: String,
    pub auth: Auth,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    Token(String),
    App {
        client_id: String,
        private_key: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        installation_id: Option<u64>,
    },
}

/// A backend, and how much of it all pools may use at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetedBackend {
    #[serde(flatten)]
    pub backend: Backend,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

impl From<Backend> for BudgetedBackend {
    fn from(backend: Backend) -> Self {
        Self { backend, budget: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    pub runners: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    Docker(Empty),
    Lxd(Lxd),
    Incus(Lxd),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Empty {}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lxd {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Pool {
    pub name: String,
    pub github: String,
    pub labels: FlowSeq<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub demand: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    pub backends: FlowSeq<Vec<String>>,
    pub image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<FlowSeq<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_idle: Option<u32>,
    pub max: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct Mount {
    pub source: String,
    pub target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

#[derive(Debug, Serialize)]
pub struct Server {
    pub listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Tls {
    pub cert: String,
    pub key: String,
}

impl Draft {
    pub fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.notes.contains(&what) {
            self.notes.push(what);
        }
    }

    /// What of a file is known to nobody here.
    pub fn unknown<'a>(&mut self, place: &str, keys: impl Iterator<Item = &'a String>) {
        for key in keys {
            self.note(format!("{place}`{}` is not known to dayfly, and was left out", shown(key)));
        }
    }

    /// The scope of that address and credential: made at its first use.
    pub fn scope(&mut self, url: Option<&str>, auth: Auth) -> String {
        let url = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                self.note(format!(
                    "the file does not say whose jobs these are: put your organisation or repository in the place of {UNKNOWN_URL}, \
                     or name it by `--url`"
                ));
                UNKNOWN_URL.to_owned()
            }
        };
        if let Some(known) = self.github.iter().find(|of| of.url == url && of.auth == auth) {
            return known.name.clone();
        }
        let last = url.rsplit('/').next().unwrap_or_default();
        let taken: Vec<&str> = self.github.iter().map(|of| of.name.as_str()).collect();
        let name = super::names::free(&super::names::name(last, "github"), &taken);
        self.github.push(Scope { name: name.clone(), url, auth });
        name
    }

    /// A pool's name that no other has.
    pub fn pool_name(&self, wanted: &str) -> String {
        let taken: Vec<&str> = self.pools.iter().map(|of| of.name.as_str()).collect();
        super::names::free(&super::names::name(wanted, "pool"), &taken)
    }

    /// The configuration without its comments.
    pub fn config(&self) -> Result<String> {
        serde_saphyr::to_string(self).context("write the configuration")
    }

    /// The configuration, with the notes above it.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        if !self.notes.is_empty() {
            text.push_str("# To be done, and what could not be carried over:\n");
            for note in &self.notes {
                text.push_str(&format!("# - {note}\n"));
            }
            text.push_str("#\n# `dayfly check -c FILE` tries all of it for real.\n");
        }
        text.push_str(&self.config()?);
        Ok(text)
    }
}

/// A word of a foreign file, fit for one line of a comment.
pub fn shown(word: &str) -> String {
    word.chars().filter(|char| !char.is_control()).take(80).collect()
}
