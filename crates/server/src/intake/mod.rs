//! The HTTP endpoint: GitHub's webhooks, and whether the daemon lives and works.
//!
//! Whoever reaches it may be anyone: a delivery counts once its signature was checked, and is answered well only once what it told
//! is on disk. No payload and no secret is ever logged or repeated. Nothing is decided here.

mod addresses;
mod answer;
mod body;
mod certificate;
mod listener;
mod refusals;

pub use addresses::Allowed;
pub use certificate::CertificateError;
pub use listener::{Intake, IntakeError, IntakeOptions, TlsFiles, WebhookOptions, serve_intake};
