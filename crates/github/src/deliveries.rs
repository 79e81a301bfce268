//! What became of the deliveries of our webhooks: GitHub tries each but once, and sends those that failed again where it is asked
//! to, for three days (protocol.md, 5.4).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use dayfly_core::{
    model::later,
    ports::{ForgeError, ForgeErrorKind},
};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    client::Shared, hooks::HookPlace, limits::Bucket, operation::Operation, refusal::Surface,
};

/// Deliveries older than this are not sent again: GitHub's bound is three days, and its clock may differ from what it tells.
const AGE_MAX: SignedDuration = SignedDuration::from_mins(3 * 24 * 60 - 10);

/// Deliveries asked for at once in one go: each is a write, of which GitHub wants few. The rest is asked for the next time.
const REDELIVERED_MAX: usize = 50;

/// Deliveries that are looked through in one go. Beyond it, what happened is read from the jobs themselves.
const LOOKED_AT_MAX: usize = 5_000;

/// A delivery may come into the list later than others with larger ids: those of the last minute are looked at again.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);

/// A delivery as GitHub lists it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeliveryWire {
    id: i64,
    guid: String,
    delivered_at: Timestamp,
    #[serde(default)]
    pub status_code: u16,
    event: String,
}

impl DeliveryWire {
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

/// A look at one hook's deliveries.
struct Looked {
    /// The newest delivery before which nothing is left to do; `None` where none has settled.
    reached: Option<i64>,
    /// How many were asked for again.
    again: u32,
    /// Whether more failed than are asked for in one go.
    is_cut_short: bool,
}

impl Shared {
    /// Asks for the deliveries newer than `cursor` that failed to be sent again. Gives the new cursor, and how many were asked for.
    pub async fn look_through_deliveries(
        self: &Arc<Self>,
        repositories: &[String],
        cursor: Option<i64>,
    ) -> Result<(Option<i64>, u32), ForgeError> {
        let Some(url) = self.webhook.get() else { return Ok((cursor, 0)) };
        let mut all = Vec::new();
        for place in self.hook_places(repositories) {
            let found = if place.is_app() {
                // It has one, and no number.
                self.is_app_hook_ours(&place, url).await.map(|ours| ours.then_some(0))
            } else {
                self.find_hook(&place, url).await.map(|hook| hook.map(|hook| hook.id))
            };
            let looked = match found {
                Ok(Some(hook)) => self.look_at_hook(&place, hook, cursor).await,
                Ok(None) => continue,
                Err(refusal) => Err(refusal),
            };
            match looked {
                Ok(looked) => all.push(looked),
                // Whoever made the hook by hand need not let us see it, and an App may have none yet: jobs are read all the same.
                Err(refusal)
                    if matches!(
                        refusal.kind,
                        ForgeErrorKind::NotAllowed(_) | ForgeErrorKind::NotFound
                    ) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok((reached(&all).max(cursor), all.iter().map(|one| one.again).sum()))
    }

    async fn look_at_hook(
        self: &Arc<Self>,
        place: &HookPlace,
        hook: i64,
        cursor: Option<i64>,
    ) -> Result<Looked, ForgeError> {
        let operation = Operation::ListDeliveries(place.words());
        let mut url = place.of_hook(hook, &["deliveries"]);
        url.query_pairs_mut().append_pair("per_page", "100");
        let after = cursor.unwrap_or(i64::MIN);
        let oldest = later(self.wire.github_now(), -AGE_MAX);
        let is_past = |one: &DeliveryWire| one.id <= after || one.delivered_at < oldest;
        let mut new: Vec<DeliveryWire> = Vec::new();
        let mut next = Some(url);
        while let Some(url) = next.take() {
            let read = |body: &[u8]| serde_json::from_slice::<Vec<DeliveryWire>>(body).ok();
            let page = if place.is_app() {
                Arc::new(self.app_deliveries(&operation, &url).await?)
            } else {
                self.page_of(&operation, &self.memory.deliveries, &url, read).await?
            };
            new.extend(page.items.iter().filter(|one| !is_past(one)).cloned());
            if new.len() < LOOKED_AT_MAX && !page.items.iter().any(is_past) {
                next.clone_from(&page.links.next);
            }
        }
        let wanted = failed(&new);
        let mut looked = Looked { reached: self.settled(&new), again: 0, is_cut_short: false };
        for (asked, id) in wanted.iter().copied().enumerate() {
            if asked == REDELIVERED_MAX {
                // Here the next look begins.
                looked.reached = looked.reached.map(|reached| reached.min(id - 1));
                looked.is_cut_short = true;
                break;
            }
            looked.again += u32::from(self.redeliver(place, hook, id).await?);
        }
        Ok(looked)
    }

    /// The newest delivery before which no other can come into the list any more.
    fn settled(&self, new: &[DeliveryWire]) -> Option<i64> {
        let until = later(self.wire.github_now(), -SETTLED);
        new.iter().filter(|one| one.delivered_at <= until).map(|one| one.id).max()
    }

    /// Asks for a delivery to be sent again; `false` where GitHub can't.
    async fn redeliver(
        self: &Arc<Self>,
        place: &HookPlace,
        hook: i64,
        id: i64,
    ) -> Result<bool, ForgeError> {
        let operation = Operation::Redeliver(id);
        let url = place.of_hook(hook, &["deliveries", &id.to_string(), "attempts"]);
        if place.is_app() {
            let asked = self.as_own_app(&operation, Method::POST, &url, Bytes::new()).await;
            return match asked {
                Ok(_) => Ok(true),
                // Too old, or forgotten.
                Err(refusal)
                    if matches!(
                        refusal.kind,
                        ForgeErrorKind::NotFound | ForgeErrorKind::Refused
                    ) =>
                {
                    Ok(false)
                }
                Err(refusal) => Err(refusal),
            };
        }
        // Sent twice is harmless: what it tells counts once.
        let asked = self.rest_ask(&operation, Method::POST, &url, Bytes::new(), None).await?;
        let (authorization, response) = asked;
        match response.status().as_u16() {
            200..300 => Ok(true),
            // Too old, or forgotten.
            400 | 404 | 422 => Ok(false),
            _ => {
                let (surface, bucket) = (Surface::Rest, Bucket::Core);
                Err(self.rest_refusal(&operation, surface, bucket, &authorization, &response))
            }
        }
    }
}

/// Where the next look begins: ids are of all hooks, so that nothing of one that was cut short may lie before it. What another
/// one did beyond it is looked at again, which does no harm.
fn reached(looked: &[Looked]) -> Option<i64> {
    let cut_short = looked.iter().filter(|one| one.is_cut_short).map(|one| one.reached).min();
    cut_short.unwrap_or_else(|| looked.iter().filter_map(|one| one.reached).max())
}

/// Of the events of jobs of which no delivery was answered well, the newest delivery each; the oldest event first.
fn failed(deliveries: &[DeliveryWire]) -> BTreeSet<i64> {
    let mut by_guid: BTreeMap<&str, (bool, i64)> = BTreeMap::new();
    for one in deliveries.iter().filter(|one| one.event == "workflow_job") {
        let (good, newest) = by_guid.entry(&one.guid).or_insert((false, one.id));
        *good |= one.is_good();
        *newest = one.id.max(*newest);
    }
    by_guid.into_values().filter(|(good, _)| !good).map(|(_, newest)| newest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_begins_where_the_first_one_was_cut_short() {
        let check = |hooks: &[(Option<i64>, bool)], expected: Option<i64>| {
            let looked = |(reached, is_cut_short): &(Option<i64>, bool)| Looked {
                reached: *reached,
                again: 0,
                is_cut_short: *is_cut_short,
            };
            let looked: Vec<_> = hooks.iter().map(looked).collect();
            assert_eq!(reached(&looked), expected, "{hooks:?}");
        };
        check(&[], None);
        check(&[(None, false), (Some(5), false), (Some(9), false)], Some(9));
        check(&[(Some(9), false), (Some(5), true), (Some(7), true)], Some(5));
        // Too young to be settled, and more of them than are asked for at once.
        check(&[(Some(9), false), (None, true)], None);
    }

    #[test]
    fn what_failed_and_was_not_made_good() {
        let check = |told: &[(i64, &str, u16)], expected: &[i64]| {
            let deliveries: Vec<_> = told
                .iter()
                .map(|(id, guid, status_code)| DeliveryWire {
                    id: *id,
                    guid: (*guid).to_owned(),
                    delivered_at: Timestamp::UNIX_EPOCH,
                    status_code: *status_code,
                    event: if *guid == "ping" { "ping" } else { "workflow_job" }.to_owned(),
                })
                .collect();
            assert_eq!(failed(&deliveries).into_iter().collect::<Vec<_>>(), expected, "{told:?}");
        };
        check(&[], &[]);
        check(&[(1, "a", 200), (2, "b", 204)], &[]);
        check(&[(1, "a", 503), (2, "b", 200), (3, "c", 0)], &[1, 3]);
        // Sent again with success; sent again in vain: the newest attempt stands for it.
        check(&[(5, "a", 200), (1, "a", 503)], &[]);
        check(&[(1, "a", 503), (5, "a", 502)], &[5]);
        check(&[(1, "ping", 502)], &[]);
    }
}
