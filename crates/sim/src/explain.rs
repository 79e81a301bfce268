//! Whether what the daemon says of waiting jobs can be true.

use dayfly_core::{model::later, plan::Census, report::pool_conditions};
use dayfly_engine::View;
use jiff::SignedDuration;

/// A condition that should have been met by now may be for as long as the slowest commit and call take.
const GRACE: SignedDuration = SignedDuration::from_secs(90);

/// A pool whose jobs wait for nothing that is named, or for something that should be over.
pub(crate) fn unexplained(view: &View<'_>) -> Option<String> {
    view.world.pools().find_map(|pool| {
        let census = Census::of(pool);
        if pool.waiting.is_empty() || !census.idle.is_empty() {
            return None;
        }
        let name = &pool.state.name;
        let waiting = pool.waiting.len();
        let conditions = pool_conditions(view.world, view.spec, pool, view.now);
        if conditions.is_empty() {
            return Some(format!("{waiting} jobs of pool {name} wait, and nothing is named"));
        }
        let overdue = conditions
            .iter()
            .find(|condition| condition.until.is_some_and(|until| later(until, GRACE) < view.now));
        overdue.filter(|_| view.store_error.is_none()).map(|condition| {
            format!("{waiting} jobs of pool {name} wait for what should be over: {condition}")
        })
    })
}
