//! The configuration file: YAML in, a checked configuration out, errors with line and caret.
//!
//! Every mistake that can be found is reported at once, with its place and what to do. Secrets stand in the file by
//! reference only, and what looks like one is never shown: not in an error, not in the line above a caret. This crate
//! reads that one file and the secrets it refers to; it asks nobody else, and decides nothing.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests fail by panicking"))]

mod backends;
mod config;
mod demand;
mod github;
mod instance;
mod keys;
mod limits;
mod load;
mod lxd;
mod mask;
mod places;
mod pools;
mod problem;
mod quantity;
mod secret;
mod server;
mod table;
mod yaml;

pub use config::{
    AllowConfig, AppAuth, Auth, BackendConfig, Config, DockerConfig, LxdConfig, LxdServerConfig,
    ScopeConfig, ServerConfig, ServerTls, TlsFiles, WebhookConfig,
};
pub use load::{EXIT_CODE, FILE_BYTES_MAX, load, parse};
pub use pools::DEFAULT_GROUP;
pub use problem::{ConfigErrors, Problem};
pub use secret::{Environment, ProcessEnvironment, SecretError, SecretRef, default_token};
