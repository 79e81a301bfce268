//! The client of GitHub: public REST, App sign-in and runner scale sets, over the `Transport` port.
//!
//! [`GitHub`] is one scope of GitHub seen with one credential. It owns what lives as long as a call or a token does: the
//! sign-in, the admin connection, the queues' tokens, the short retries. It decides nothing: what is asked, when, and
//! again after a longer wait, is the planner's. No token, key or JIT configuration ever leaves it in an error or a log.
//!
//! Facts about GitHub stand beside the code with the section of the protocol notes (`protocol.md`) that they come from,
//! as do the numbers F1 to F28 that those give to failures that have been seen.

mod address;
mod admin;
mod agents;
mod alone;
mod app;
mod app_hook;
mod authorization;
mod catch_up;
mod check;
mod client;
mod conditional;
mod credential;
mod deliveries;
mod download;
mod entry;
mod forge;
mod hooks;
mod jobs;
mod limits;
mod message;
mod operation;
mod programs;
mod queue;
mod redirect;
mod refusal;
mod renewable;
mod rest;
mod runners;
mod scale_sets;
mod scrub;
mod service;
mod sessions;
mod transport;
mod webhook;
mod wire;
mod workflow_job;

pub use address::{Address, InvalidAddress};
pub use client::GitHub;
pub use credential::{Credential, InvalidCredential};
pub use download::{Download, DownloadError, Downloader, PROGRAM_BYTES_MAX};
pub use hooks::{HookChange, HookPlace};
pub use programs::OfferedProgram;
pub use transport::{HttpTransport, HttpTransportError};
pub use webhook::{Delivery, InvalidDelivery, PAYLOAD_BYTES_MAX, SignatureError, WebhookSecrets};
