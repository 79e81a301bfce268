//! The API on the unix socket, and the HTTP endpoint that takes webhooks.
//!
//! Of the socket: whoever may connect may do everything: the socket is its owner's alone, and file permissions are the only key.
//! This crate shows what the controller knows and passes commands on; it decides nothing and keeps nothing.

mod api;
mod documents;
mod error;
mod intake;
mod lxd_instances;
mod serve;
mod socket;

pub use documents::{Accepted, Daemon, FlushPool, RemoveRunner, StatusDocument, Version};
pub use error::{ErrorBody, ErrorDetail};
pub use intake::{
    Allowed, CertificateError, Intake, IntakeError, IntakeOptions, TlsFiles, WebhookOptions,
    serve_intake,
};
pub use lxd_instances::LxdInstances;
pub use serve::serve;
pub use socket::{Socket, SocketError};
