//! Something that runs out and is got anew: whoever needs it at the same time shares one renewal and its outcome.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dayfly_core::ports::{BoxFuture, ForgeError};
use futures_util::{FutureExt, future::Shared};
use tokio::time::Instant;

use crate::wire::locked;

type Renewal<T> = BoxFuture<'static, Result<Arc<T>, ForgeError>>;

/// A value that runs out.
pub(crate) struct Renewable<T> {
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Option<Arc<T>>,
    /// One that nobody waits for any more is gone on with by whoever comes next: its answer may tell of a rate limit, which
    /// a request made anew would run into. And when it was begun.
    renewal: Option<(Shared<Renewal<T>>, Instant)>,
}

/// How long ago a renewal may have begun that is gone on with. What it asked for may have been answered long ago.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);

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
            let goes_on = |(shared, began): &&(Shared<Renewal<T>>, Instant)| {
                // Others may wait for one that takes long.
                let is_wanted = shared.strong_count().is_some_and(|count| count > 1);
                shared.peek().is_none() && (is_wanted || began.elapsed() < RESUMED_WITHIN)
            };
            match held.renewal.as_ref().filter(goes_on) {
                Some((under_way, _)) => under_way.clone(),
                None => {
                    let shared: Shared<Renewal<T>> = renew().shared();
                    held.renewal = Some((shared.clone(), Instant::now()));
                    shared
                }
            }
        };
        let result = renewal.await;
        // What has ended keeps nothing alive.
        let mut held = locked(&self.held);
        if held.renewal.as_ref().is_some_and(|(shared, _)| shared.peek().is_some()) {
            held.renewal = None;
        }
        result
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
    async fn an_abandoned_renewal_is_gone_on_with_unless_it_is_old() {
        let fixture = fixture();
        let soon = Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, fixture.get(false)).await.is_err());
        assert_eq!(*fixture.get(false).await.unwrap(), 1);
        fixture.renewable.discard(&fixture.renewable.held().unwrap());
        assert!(tokio::time::timeout(soon, fixture.get(false)).await.is_err());
        tokio::time::sleep(RESUMED_WITHIN).await;
        assert_eq!(*fixture.get(false).await.unwrap(), 3);
        let third = fixture.renewable.held().unwrap();
        fixture.renewable.discard(&third);
        assert_eq!(*fixture.get(false).await.unwrap(), 4);
        let fourth = fixture.renewable.held().unwrap();
        fixture.renewable.discard(&Arc::new(4));
        assert!(fixture.renewable.held().is_some(), "only the very same is discarded");
        fixture.renewable.discard(&fourth);
        assert_eq!(*fixture.get(false).await.unwrap(), 5);
    }
}
