//! Where the store's blocking calls run.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use dayfly_core::ports::{Batch, Store, StoreError};
use tokio::sync::oneshot;

use crate::ports::StoreDriver;

/// How many batches may wait for the writer: the controller awaits each commit before the next, so one.
const BATCHES_MAX: usize = 1;

/// A batch that was tried, handed back with what came of it.
pub(crate) type Tried = (Batch, Result<(), StoreError>);

/// A batch for the writer.
pub(crate) struct Order {
    batch: Batch,
    answer: oneshot::Sender<Tried>,
}

/// Commits batches, one at a time.
pub(crate) enum Committer {
    /// In place.
    Inline(Box<dyn Store>),
    /// On the writer's thread, which ends when this is dropped.
    Thread(SyncSender<Order>),
}

/// Resolves when the store is closed: its lock is free for the next daemon.
pub(crate) type Closed = oneshot::Receiver<()>;

/// The writer's thread is gone: it panicked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's thread panicked")]
pub(crate) struct WriterGone;

impl Committer {
    /// Takes the store to where it is called. The second value is `None` where the store is closed with the first.
    pub(crate) fn new(
        store: Box<dyn Store>,
        driver: StoreDriver,
    ) -> std::io::Result<(Self, Option<Closed>)> {
        match driver {
            StoreDriver::Inline => Ok((Self::Inline(store), None)),
            StoreDriver::Thread => {
                let (orders, waiting) = sync_channel(BATCHES_MAX);
                let (closing, closed) = oneshot::channel();
                thread::Builder::new().name("dayfly-store".to_owned()).spawn(move || {
                    write(store, &waiting);
                    let _ = closing.send(());
                })?;
                Ok((Self::Thread(orders), Some(closed)))
            }
        }
    }

    /// Commits a batch. Not cancel safe: a commit that is dropped may reach the disk or not.
    pub(crate) async fn commit(&mut self, batch: Batch) -> Result<Tried, WriterGone> {
        match self {
            Self::Inline(store) => {
                let result = store.commit(&batch);
                Ok((batch, result))
            }
            Self::Thread(orders) => {
                let (answer, tried) = oneshot::channel();
                // There is room: each order was answered before the next.
                orders.send(Order { batch, answer }).map_err(|_| WriterGone)?;
                tried.await.map_err(|_| WriterGone)
            }
        }
    }
}

fn write(mut store: Box<dyn Store>, orders: &Receiver<Order>) {
    for Order { batch, answer } in orders {
        let result = store.commit(&batch);
        let _ = answer.send((batch, result));
    }
}
