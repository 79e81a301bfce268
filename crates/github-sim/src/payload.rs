//! Bodies of answers: whole ones, and those that a fault cuts.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
pub(crate) struct Dropped;

/// A body that is whole, or breaks off.
#[derive(Debug)]
pub(crate) struct Payload {
    pub data: Option<Bytes>,
    pub cut: Cut,
}

/// Whether a body breaks off after its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    No,
    AfterFlush,
    Now,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        match (self.data.take().filter(|data| !data.is_empty()), self.cut) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, Cut::No) => Poll::Ready(None),
            (None, Cut::AfterFlush) => {
                // Without this pause the connection would end before what was written is sent.
                self.cut = Cut::Now;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            (None, Cut::Now) => Poll::Ready(Some(Err(Dropped))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.cut == Cut::No && self.data.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        if self.cut != Cut::No {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
