//! Something that runs out and is got anew: whoever needs it at the same time shares one renewal and its outcome.

use std::sync::{Arc, Mutex};

use dayfly_core::ports::{BoxFuture, ForgeError};
use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};

use crate::wire::locked;

type Renewal<T> = BoxFuture<'static, Result<Arc<T>, ForgeError>>;

/// A value that runs out.
pub(crate) struct Renewable<T> {
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Option<Arc<T>>,
    /// Weak: a renewal that nobody waits for any more ends, and keeps nothing alive.
    renewal: Option<WeakShared<Renewal<T>>>,
}

impl<T> Default for Renewable<T> {
    fn default() -> Self {
        Self { held: Mutex::new(Held { value: None, renewal: None }) }
    }
}

impl<T: Send + Sync + 'static> Renewable<T> {
    /// The value, renewed first where there is none that `is_good`. `renew` must [`Self::keep`] what it makes; what it
    /// just made is taken as it is.
    pub async fn get(
        &self,
        is_good: impl Fn(&T) -> bool,
        renew: impl FnOnce() -> Renewal<T>,
    ) -> Result<Arc<T>, ForgeError> {
        let renewal = {
            let mut held = locked(&self.held);
            if let Some(value) = held.value.as_ref().filter(|value| is_good(value)) {
                return Ok(Arc::clone(value));
            }
            match held
                .renewal
                .as_ref()
                .and_then(WeakShared::upgrade)
                .filter(|shared| shared.peek().is_none())
            {
                Some(under_way) => under_way,
                None => {
                    let shared: Shared<Renewal<T>> = renew().shared();
                    held.renewal = shared.downgrade();
                    shared
                }
            }
        };
        renewal.await
    }

    /// Puts a value in place of the one held.
    pub fn keep(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        locked(&self.held).value = Some(Arc::clone(&value));
        value
    }

    /// What is held, good or not.
    pub fn held(&self) -> Option<Arc<T>> {
        locked(&self.held).value.clone()
    }

    /// Forgets `stale`, unless it was replaced already.
    pub fn discard(&self, stale: &Arc<T>) {
        let mut held = locked(&self.held);
        if held.value.as_ref().is_some_and(|value| Arc::ptr_eq(value, stale)) {
            held.value = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use dayfly_core::ports::ForgeErrorKind;

    use super::*;

    struct Fixture {
        renewable: Renewable<u32>,
        renewals: AtomicU32,
    }

    impl Fixture {
        async fn get(self: &Arc<Self>, fail: bool) -> Result<Arc<u32>, ForgeError> {
            let this = Arc::clone(self);
            let renew = move || -> Renewal<u32> {
                Box::pin(async move {
                    let number = this.renewals.fetch_add(1, Ordering::SeqCst) + 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if fail {
                        let (operation, detail) = (String::new(), number.to_string());
                        return Err(ForgeError {
                            kind: ForgeErrorKind::Transient,
                            operation,
                            detail,
                        });
                    }
                    Ok(this.renewable.keep(number))
                })
            };
            self.renewable.get(|_| true, renew).await
        }
    }

    fn fixture() -> Arc<Fixture> {
        Arc::new(Fixture { renewable: Renewable::default(), renewals: AtomicU32::new(0) })
    }

    #[tokio::test(start_paused = true)]
    async fn one_renewal_serves_all_who_wait_and_so_does_its_failure() {
        let fixture = fixture();
        let failed = futures_util::future::join_all((0..50).map(|_| fixture.get(true))).await;
        assert!(failed.iter().all(|result| result.as_ref().unwrap_err().detail == "1"));
        let got = futures_util::future::join_all((0..50).map(|_| fixture.get(false))).await;
        assert!(got.iter().all(|result| **result.as_ref().unwrap() == 2));
        assert_eq!(fixture.renewals.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_renewal_holds_up_nobody() {
        let fixture = fixture();
        assert!(tokio::time::timeout(Duration::from_millis(10), fixture.get(false)).await.is_err());
        assert_eq!(*fixture.get(false).await.unwrap(), 2);
        let second = fixture.renewable.held().unwrap();
        fixture.renewable.discard(&Arc::new(2));
        assert!(fixture.renewable.held().is_some(), "only the very same is discarded");
        fixture.renewable.discard(&second);
        assert_eq!(*fixture.get(false).await.unwrap(), 3);
    }
}
