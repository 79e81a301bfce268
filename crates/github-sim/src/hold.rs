//! Requests that wait for their answer: long polls, and calls that a fault delays.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;

use crate::answer::Answer;
use crate::call::Call;
use crate::faults::Action;
use crate::ids::{HoldId, RunnerId, SetId};
use crate::message::Poll;
use crate::refusal::Reply;
use crate::route::Route;
use crate::sim::{Outcome, Sim};
use crate::timer::Timer;

/// What a held request waits for.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// A message of a set.
    Messages(Poll),
    /// A message for a runner.
    Runner(RunnerId),
    /// Nothing: it is stuck, and ends with 202.
    Nothing,
    /// Its turn to be executed.
    Execution(Box<Request<Bytes>>),
    /// The time to send this.
    Sending(Reply),
}

#[derive(Debug)]
pub(crate) struct Hold {
    pub awaited: Awaited,
    pub due: bool,
    pub faults: Vec<Action>,
    pub entry: u64,
    pub route: &'static str,
}

/// All held requests, and those worth asking about.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pub by_id: BTreeMap<HoldId, Hold>,
    woken: Vec<HoldId>,
}

impl Sim {
    /// Keeps a request until `deadline`.
    pub(crate) fn hold(&mut self, hold: Hold, deadline: Timestamp) -> HoldId {
        let id = HoldId(self.ids.holds.next());
        match hold.awaited {
            Awaited::Messages(poll) => {
                // A newer poll of the session replaces the older one, which ends with 202 (a guess).
                let old = self.sets.get_mut(poll.set).and_then(|set| set.poll.replace(id));
                old.into_iter().for_each(|old| self.hold_due(old));
            }
            Awaited::Runner(runner) => {
                let old = self.runners.get_mut(runner).and_then(|runner| runner.poll.replace(id));
                old.into_iter().for_each(|old| self.hold_due(old));
            }
            _ => {}
        }
        self.holds.by_id.insert(id, hold);
        self.timers.set(Timer::Hold(id), deadline);
        id
    }

    pub(crate) fn hold_due(&mut self, id: HoldId) {
        if let Some(hold) = self.holds.by_id.get_mut(&id) {
            hold.due = true;
            self.holds.woken.push(id);
        }
    }

    /// Something happened that a set's poll may want to hear.
    pub(crate) fn wake_set(&mut self, set: SetId) {
        if let Some(hold) = self.sets.get(set).and_then(|set| set.poll) {
            self.wake(hold);
        }
    }

    /// Something happened that a runner's poll may want to hear.
    pub(crate) fn wake_runner(&mut self, runner: RunnerId) {
        if let Some(hold) = self.runners.get(runner).and_then(|runner| runner.poll) {
            self.wake(hold);
        }
    }

    pub(crate) fn wake(&mut self, hold: HoldId) {
        if self.holds.woken.last() != Some(&hold) {
            self.holds.woken.push(hold);
        }
    }

    /// The held requests about which [`Sim::held`] is worth asking since the last call of this.
    pub fn take_woken(&mut self) -> Vec<HoldId> {
        let mut woken = std::mem::take(&mut self.holds.woken);
        woken.retain(|id| self.holds.by_id.contains_key(id));
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    /// The answer of a held request, if there is one at `now`. Once answered, the id is unknown; for an unknown id the connection ends.
    pub fn held(&mut self, now: Timestamp, id: HoldId) -> Option<Answer> {
        self.tick(now);
        let now = self.now;
        let Some(hold) = self.holds.by_id.get(&id) else { return Some(Answer::Drop) };
        let due = hold.due;
        let outcome = match &hold.awaited {
            Awaited::Messages(poll) => {
                let poll = *poll;
                // A poll that a newer one replaced ends without taking a message.
                let current = self.sets.get(poll.set).is_none_or(|set| set.poll == Some(id));
                match if current { self.try_message(now, poll, due) } else { Ok(None) } {
                    Ok(Some(reply)) => Outcome::Reply(reply),
                    Ok(None) if due => Outcome::Reply(Self::nothing_new()),
                    Ok(None) => return None,
                    Err(refusal) => Outcome::Reply(refusal.into_reply()),
                }
            }
            Awaited::Runner(runner) => {
                let runner = *runner;
                let current = self.runners.get(runner).is_none_or(|runner| runner.poll == Some(id));
                match if current { self.try_runner_message(runner) } else { Ok(None) } {
                    Ok(Some(reply)) => Outcome::Reply(reply),
                    Ok(None) if due => Outcome::Reply(Self::nothing_new()),
                    Ok(None) => return None,
                    Err(refusal) => Outcome::Reply(refusal.into_reply()),
                }
            }
            _ if !due => return None,
            _ => Outcome::Reply(Self::nothing_new()),
        };
        let hold = self.release(now, id)?;
        let outcome = match hold.awaited {
            Awaited::Execution(request) => {
                let call = Call::new(now, &request);
                let route = Route::parse(request.method(), &call.segments);
                self.execute(&call, &route, hold.entry)
            }
            Awaited::Sending(reply) => Outcome::Reply(reply),
            _ => outcome,
        };
        Some(self.finish(outcome, hold.faults, hold.entry, hold.route))
    }

    /// The caller of a held request is gone.
    pub fn abandon(&mut self, now: Timestamp, id: HoldId) {
        self.tick(now);
        let now = self.now;
        if let Some(hold) = self.release(now, id) {
            self.journal.end(hold.entry, hold.route, None, now);
        }
    }

    fn release(&mut self, now: Timestamp, id: HoldId) -> Option<Hold> {
        let hold = self.holds.by_id.remove(&id)?;
        self.timers.cancel(Timer::Hold(id));
        match hold.awaited {
            Awaited::Messages(poll) => {
                if let Some(set) = self.sets.get_mut(poll.set).filter(|set| set.poll == Some(id)) {
                    set.poll = None;
                    if set.session.is_some() {
                        self.session_seen(now, poll.set);
                    }
                }
            }
            Awaited::Runner(runner) => self.runner_poll_ended(now, runner, id),
            _ => {}
        }
        Some(hold)
    }
}
