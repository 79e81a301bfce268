//! What the state machine says to a request.

use bytes::Bytes;
use http::Response;

use crate::ids::HoldId;

/// What becomes of a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Respond(Response<Bytes>),
    /// Ask again with [`crate::Sim::held`] when the hold is woken or due.
    Hold(HoldId),
    /// End the connection without an answer.
    Drop,
    /// Send the head and this many bytes of the body, then end the connection.
    Truncate(Response<Bytes>, usize),
}
