//! Where the store's blocking calls run.

use dayfly_core::ports::{Batch, Store, StoreError};
use tokio::time::sleep;

use crate::{ports::StoreDriver, tasks::Tasks};

/// A batch that was tried, handed back with what came of it.
pub(crate) type Tried = (Batch, Result<(), StoreError>);

/// The store panicked, and is gone with its thread.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store panicked")]
pub(crate) struct StoreGone;

/// Commits batches, one at a time.
pub(crate) struct Committer {
    /// `None` while a commit is under way, or after one that panicked.
    store: Option<Box<dyn Store>>,
    driver: StoreDriver,
    tasks: Tasks,
}

impl Committer {
    pub(crate) fn new(store: Box<dyn Store>, driver: StoreDriver, tasks: Tasks) -> Self {
        Self { store: Some(store), driver, tasks }
    }

    /// Commits a batch. Not cancel safe: a commit that is dropped may reach the disk or not, and the store is closed
    /// after it.
    pub(crate) async fn commit(&mut self, batch: Batch) -> Result<Tried, StoreGone> {
        let mut store = self.store.take().ok_or(StoreGone)?;
        let (store, tried) = match self.driver {
            StoreDriver::Inline => {
                let result = store.commit(&batch);
                (store, (batch, result))
            }
            StoreDriver::Paced(takes) => {
                sleep(takes / 2).await;
                let result = store.commit(&batch);
                sleep(takes / 2).await;
                (store, (batch, result))
            }
            StoreDriver::Thread => {
                let commit = self.tasks.blocking(move || {
                    let result = store.commit(&batch);
                    (store, (batch, result))
                });
                commit.await.map_err(|_| StoreGone)?
            }
        };
        self.store = Some(store);
        Ok(tried)
    }
}
