//! GitHub's webhooks: whether a delivery is GitHub's, and what it tells of a job.
//!
//! Everything here is anyone's until its signature was checked. Nothing is decided: what a delivery means for a pool is the
//! planner's.

mod delivery;
mod signature;

#[cfg(test)]
mod tests;

pub use delivery::{Delivery, InvalidDelivery, PAYLOAD_BYTES_MAX};
pub use signature::{SignatureError, WebhookSecrets};
