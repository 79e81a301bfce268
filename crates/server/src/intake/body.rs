//! Bodies, read within bounds: of size, of time, and of what all of them together may hold.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use dayfly_github::PAYLOAD_BYTES_MAX;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

/// What the bodies that are being read may hold together: some of the largest, or thousands of usual ones (10 KiB).
const HELD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How long a body may take: GitHub gives ten seconds for the whole of a delivery (protocol.md, 5.4).
const BODY_TIME: Duration = Duration::from_secs(6);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than GitHub's are.
    TooLarge,
    /// It came too slowly.
    TooSlow,
    /// Others hold all the room that there is.
    NoRoom,
    /// The connection broke.
    Broken,
}

/// The room that is left for bodies.
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicUsize);

/// A part of the room, given back when this is dropped.
pub(crate) struct Held<'a> {
    room: &'a AtomicUsize,
    bytes: usize,
    /// The body.
    pub body: Vec<u8>,
}

impl Room {
    /// Reads a body. What is refused is not read any further.
    pub async fn read(&self, body: Incoming) -> Result<Held<'_>, Unread> {
        let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if told > PAYLOAD_BYTES_MAX {
            return Err(Unread::TooLarge);
        }
        timeout(BODY_TIME, self.read_on(body)).await.unwrap_or(Err(Unread::TooSlow))
    }

    async fn read_on(&self, mut body: Incoming) -> Result<Held<'_>, Unread> {
        let mut held = Held { room: &self.0, bytes: 0, body: Vec::new() };
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            if held.body.len() + frame.len() > PAYLOAD_BYTES_MAX {
                return Err(Unread::TooLarge);
            }
            held.take(frame.len())?;
            held.body.extend_from_slice(&frame);
        }
        Ok(held)
    }
}

impl Held<'_> {
    /// Room for more bytes. A buffer that grows is twice as large as what is in it.
    fn take(&mut self, bytes: usize) -> Result<(), Unread> {
        let bytes = 2 * bytes;
        let before = self.room.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > HELD_BYTES_MAX { Err(Unread::NoRoom) } else { Ok(()) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.room.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
