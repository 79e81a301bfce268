//! Which of a pool's backends makes its next runner, and why the others do not.
//!
//! A place that can't make one is passed over at once, so that a job waits for no back-off while another place is free.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{census::Census, claims::Claim, earlier};
use crate::{
    effect::Flight,
    model::{
        BackendName, Budget, FAILURES_TO_PAUSE, Instance, LOAD_WHOLE, Place, Placement, PoolSpec,
        Registration, Runner, ScopeName, Share, Trouble, TroubleKey, Used, later,
    },
    planted::{Bug, planted},
    world::{Action, BackendView, Pool, World},
};

/// How long a place is waited for whose first list is under way, so that a restart sends no runner to the second place
/// because the first one answered a moment later.
const FIRST_LIST: SignedDuration = SignedDuration::from_secs(5);

/// A warm instance that stands for so long has shown all that it can without a job: where runners are made one at a time, the
/// next is made beside it, so that a stock becomes full though no job comes.
const STANDS: SignedDuration = SignedDuration::from_mins(2);

/// How much longer a pool whose own runners failed on a backend waits than the others there, where its circuit breaker lets one
/// try: else the pool that comes first could fail there for ever, and no other would have its turn.
const OTHERS_FIRST: SignedDuration = SignedDuration::from_secs(1);

/// A creation that takes more than this part of its deadline is not waited for where another place is free: one minute of
/// the usual five, which leaves a job three of the four in which it has to start (F15).
const STALLED_AFTER: i32 = 5;

/// What each backend still takes in this plan, and what the plan adds for each scope.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    backends: BTreeMap<BackendName, Free>,
    /// What pools wanted of used up budgets when they were last planned.
    claims: Vec<Claim>,
    /// Rows that this plan adds to pools whose runners register by themselves.
    alone: BTreeMap<ScopeName, u32>,
}

#[derive(Debug, Clone)]
struct Free {
    /// Create calls.
    creates: u32,
    /// Rows that this plan adds.
    planned: u32,
    budget: Budget,
    used: Used,
}

impl Room {
    pub(crate) fn new(world: &World, now: Timestamp) -> Self {
        let free = |(name, view): (&BackendName, &BackendView)| {
            let most = match breaker(world, name, now) {
                Breaker::Closed => view.capabilities.creates_max,
                Breaker::HalfOpen(_) => 1,
                Breaker::Open(_) => 0,
            };
            let creates = most.saturating_sub(view.creates);
            let free = Free { creates, planned: 0, budget: view.budget, used: view.used };
            (name.clone(), free)
        };
        Self {
            backends: world.backends().map(free).collect(),
            claims: world.pools().filter_map(|pool| pool.claim.clone()).collect(),
            alone: BTreeMap::new(),
        }
    }

    /// Runners of a scope that this plan makes and that will ask for a registration of their own.
    pub(super) fn alone(&self, scope: &ScopeName) -> u32 {
        self.alone.get(scope).copied().unwrap_or(0)
    }

    /// One more of them.
    pub(super) fn plan_alone(&mut self, scope: &ScopeName) {
        *self.alone.entry(scope.clone()).or_default() += 1;
    }

    /// Takes a create call's place, where there is one.
    pub(super) fn take(&mut self, backend: &BackendName) -> bool {
        match self.backends.get_mut(backend) {
            Some(free) if free.creates > 0 => {
                free.creates -= 1;
                true
            }
            _ => false,
        }
    }

    /// A backend's budget, and how much of it is used.
    pub(super) fn budget(&self, backend: &BackendName) -> Option<(Budget, Used)> {
        self.backends.get(backend).map(|free| (free.budget, free.used))
    }

    /// Whether what is left of a place's budget is wanted for others' runners before it may be had for a pool's stock.
    fn is_claimed(&self, place: &Place, of: &PoolSpec) -> bool {
        let Some((budget, used)) = self.budget(&place.backend) else { return false };
        let claims = self.claims.iter();
        let claims =
            claims.filter(|claim| claim.backend == place.backend && claim.comes_before(of));
        let used = claims.fold(used, |used, claim| claim.added_to(used));
        budget.room(used, Share::of(&place.instance)) == 0
    }

    /// A row more.
    fn plan(&mut self, place: &Place) {
        if let Some(free) = self.backends.get_mut(&place.backend) {
            free.planned += 1;
            free.used = free.used.plus(Share::of(&place.instance));
        }
    }
}

/// Whether create calls are made on a backend, whatever the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Breaker<'a> {
    /// They are.
    Closed,
    /// None is, until the trouble's next attempt.
    Open(&'a Trouble),
    /// One at a time, until one works.
    HalfOpen(&'a Trouble),
}

/// The state of a backend's circuit breaker.
pub(crate) fn breaker<'a>(world: &'a World, backend: &BackendName, now: Timestamp) -> Breaker<'a> {
    match world.trouble(&TroubleKey::Creates { backend: backend.clone() }) {
        Some(trouble) if trouble.failures < FAILURES_TO_PAUSE => Breaker::Closed,
        Some(trouble) if trouble.next_attempt_at > now => Breaker::Open(trouble),
        Some(trouble) => Breaker::HalfOpen(trouble),
        None => Breaker::Closed,
    }
}

/// Why a place makes no runner now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Passed<'a> {
    /// The backend was not listed yet in this life.
    Unlisted,
    /// Its first list is under way, and waited for until then.
    Soon(Timestamp),
    /// It can't be reached.
    Trouble(&'a Trouble),
    /// Its circuit breaker is open, or half open while another call is under way.
    Breaker(&'a Trouble),
    /// The pool's runners failed there, and the next attempt waits until then.
    Creation(&'a Trouble, Timestamp),
    /// They failed, and a few at a time show whether they work again: until then at the latest, where time alone can show it.
    Proving(&'a Trouble, Option<Timestamp>),
    /// Its budget is used up.
    Budget(Budget, Used),
    /// It does not answer a create call that was made then.
    Stalled(Timestamp),
}

impl Passed<'_> {
    /// Until when at the latest, where time alone ends it.
    fn until(self) -> Option<Timestamp> {
        match self {
            Self::Soon(until) | Self::Creation(_, until) => Some(until),
            Self::Breaker(trouble) => Some(trouble.next_attempt_at),
            Self::Proving(_, until) => until,
            _ => None,
        }
    }
}

/// A pool's places, and its runners there.
pub(crate) struct Places<'a> {
    world: &'a World,
    of: &'a PoolSpec,
    now: Timestamp,
    /// Instances of the pool that may live.
    live: BTreeMap<&'a BackendName, u32>,
    /// Runners of the pool that have not shown yet that they work.
    unproven: BTreeMap<&'a BackendName, u32>,
    /// Those of them that are not made yet.
    unmade: BTreeMap<&'a BackendName, u32>,
    /// When the first of them has stood warm for long enough.
    stands_at: BTreeMap<&'a BackendName, Timestamp>,
    /// Since when a backend does not answer a create call of whatever pool.
    stalled: BTreeMap<&'a BackendName, Timestamp>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(world: &'a World, pool: &'a Pool, of: &'a PoolSpec, now: Timestamp) -> Self {
        let mut places = Self {
            world,
            of,
            now,
            live: BTreeMap::new(),
            unproven: BTreeMap::new(),
            unmade: BTreeMap::new(),
            stands_at: BTreeMap::new(),
            stalled: BTreeMap::new(),
        };
        for row in pool.runners.values().filter(|row| row.instance.may_live()) {
            *places.live.entry(&row.backend).or_default() += 1;
            if is_unmade(row) {
                *places.unmade.entry(&row.backend).or_default() += 1;
            }
            if still_unproven(row, now) {
                *places.unproven.entry(&row.backend).or_default() += 1;
                if let Some(at) = stands_at(row) {
                    let first = places.stands_at.entry(&row.backend).or_insert(at);
                    *first = at.min(*first);
                }
            }
        }
        for pool in world.pools() {
            for row in pool.stalled.iter().filter_map(|name| pool.runners.get(name)) {
                let since = places.stalled.entry(&row.backend).or_insert(row.instance.since());
                *since = row.instance.since().min(*since);
            }
        }
        places
    }

    /// The place of the next runner, which is taken off `room`. A place that does not answer create calls is for a runner
    /// that no other place can make, unless it is to be made in place of one that stalls. One for the stock leaves the room that
    /// others want for their runners.
    pub(crate) fn choose(
        &mut self,
        room: &mut Room,
        instead: bool,
        stock: bool,
    ) -> Option<&'a Place> {
        let of = self.of;
        let mut usable = Vec::new();
        let mut stalled = None;
        for place in &of.places {
            match self.passed(place, room) {
                None if stock && room.is_claimed(place, of) => {}
                None => usable.push(place),
                // A moment later it may be the better one.
                Some(Passed::Soon(_)) if usable.is_empty() || of.placement == Placement::Spread => {
                    return None;
                }
                Some(Passed::Stalled(_)) if !instead => stalled = stalled.or(Some(place)),
                Some(_) => {}
            }
        }
        let place = match of.placement {
            Placement::InOrder => usable.first().copied(),
            // Of equals the first, as the user has them.
            Placement::Spread => usable.iter().copied().min_by_key(|place| self.load(place, room)),
        };
        let place = place.or(stalled)?;
        room.plan(place);
        *self.live.entry(&place.backend).or_default() += 1;
        *self.unproven.entry(&place.backend).or_default() += 1;
        *self.unmade.entry(&place.backend).or_default() += 1;
        Some(place)
    }

    /// How much of a place is used: of its budget, or, where it has none, by the pool's own runners of its `max`. One with a
    /// create call free comes before all that have none.
    fn load(&self, place: &Place, room: &Room) -> (bool, u64) {
        let live = u64::from(self.live.get(&place.backend).copied().unwrap_or(0));
        let own = live.saturating_mul(LOAD_WHOLE) / u64::from(self.of.limits.max.max(1));
        let Some(free) = room.backends.get(&place.backend) else { return (true, u64::MAX) };
        (free.creates <= free.planned, free.budget.load(free.used).unwrap_or(own))
    }

    /// Why a place makes no runner now; `None`: it can.
    pub(crate) fn passed(&self, place: &Place, room: &Room) -> Option<Passed<'a>> {
        if let Some(ill) = self.ill(place) {
            return Some(ill);
        }
        let Some(free) = room.backends.get(&place.backend) else { return Some(Passed::Unlisted) };
        if let Breaker::HalfOpen(trouble) = breaker(self.world, &place.backend, self.now)
            && free.creates <= free.planned
        {
            return Some(Passed::Breaker(trouble));
        }
        let share = Share::of(&place.instance);
        let full = free.budget.room(free.used, share) == 0 && !planted(Bug::BudgetIgnored);
        if full {
            return Some(Passed::Budget(free.budget, free.used));
        }
        self.stalled.get(&place.backend).map(|since| Passed::Stalled(*since))
    }

    /// What is wrong with a place, however much room it has.
    fn ill(&self, place: &Place) -> Option<Passed<'a>> {
        let backend = &place.backend;
        let listed = self.world.backend(backend).is_some_and(BackendView::is_known);
        if let Some(trouble) = self.world.trouble(&TroubleKey::Backend { backend: backend.clone() })
        {
            return Some(Passed::Trouble(trouble));
        }
        if !listed {
            let began = self.world.flying_since(&Flight::ListInstances(backend.clone()));
            let until = later(began.unwrap_or(self.now), FIRST_LIST);
            let waits = until > self.now && self.of.places.len() > 1;
            return Some(if waits { Passed::Soon(until) } else { Passed::Unlisted });
        }
        let breaker = breaker(self.world, backend, self.now);
        if let Breaker::Open(trouble) = breaker {
            return Some(Passed::Breaker(trouble));
        }
        let trouble = self.world.trouble(&place.creation_key(&self.of.name))?;
        let until = match breaker {
            Breaker::HalfOpen(_) => later(trouble.next_attempt_at, OTHERS_FIRST),
            _ => trouble.next_attempt_at,
        };
        if until > self.now {
            return Some(Passed::Creation(trouble, until));
        }
        // A broken image costs one instance in five minutes.
        // Where there was no room, an instance that is made is proof.
        let attempts = if trouble.is_full() { &self.unmade } else { &self.unproven };
        let attempts = attempts.get(backend).copied().unwrap_or(0);
        let proves = attempts >= trouble.attempts_max(self.now);
        let until = trouble.full_until().or_else(|| self.stands_at.get(backend).copied());
        proves.then_some(Passed::Proving(trouble, until))
    }

    /// When one of the places that are passed over may be free though nothing happens.
    pub(crate) fn again(&self, room: &Room) -> Option<Timestamp> {
        let until = |place: &Place| self.passed(place, room)?.until();
        let until = self.of.places.iter().filter_map(until).filter(|until| *until > self.now);
        until.min()
    }

    /// The backends on which rows that are only planned are better planned anew: they make no runner now, and another one can.
    fn left(&self, room: &Room) -> BTreeSet<&'a BackendName> {
        let waits = |place: &Place| {
            self.stalled.contains_key(&place.backend)
                || match self.ill(place) {
                    None | Some(Passed::Soon(_) | Passed::Proving(..)) => false,
                    Some(_) => true,
                }
        };
        let others = |backend: &'a BackendName| {
            self.of.places.iter().filter(move |other| other.backend != *backend)
        };
        let left = self.of.places.iter().map(|place| (place, &place.backend));
        left.filter(|(place, backend)| {
            waits(place) && others(backend).any(|other| self.passed(other, room).is_none())
        })
        .map(|(_, backend)| backend)
        .collect()
    }
}

/// The backends of a pool that its planned rows leave for another one, and when it may be more of them though nothing
/// happens.
pub(super) fn left<'a>(
    world: &'a World,
    pool: &'a Pool,
    of: &'a PoolSpec,
    room: &Room,
    now: Timestamp,
) -> (BTreeSet<&'a BackendName>, Option<Timestamp>) {
    let is_planned = |row: &Runner| matches!(row.instance, Instance::Planned { .. });
    if of.places.len() < 2 || !pool.runners.values().any(is_planned) {
        return (BTreeSet::new(), None);
    }
    let places = Places::new(world, pool, of, now);
    (places.left(room), places.again(room))
}

/// How many more of a pool's runners a place makes before one of them has shown that they work.
pub(super) fn attempts_left(
    world: &World,
    pool: &Pool,
    of: &PoolSpec,
    place: &Place,
    now: Timestamp,
) -> u32 {
    let trouble = world.trouble(&place.creation_key(&of.name));
    let most = match breaker(world, &place.backend, now) {
        Breaker::HalfOpen(_) => 1,
        Breaker::Closed | Breaker::Open(_) => u32::MAX,
    };
    let most = trouble.map_or(most, |trouble| trouble.attempts_max(now).min(most));
    if most == u32::MAX {
        return most;
    }
    let full = trouble.is_some_and(Trouble::is_full);
    let attempts = |row: &&Runner| {
        row.backend == place.backend
            && match full {
                true => is_unmade(row),
                false => row.instance.may_live() && still_unproven(row, now),
            }
    };
    let attempts = pool.runners.values().filter(attempts).count();
    most.saturating_sub(u32::try_from(attempts).unwrap_or(u32::MAX))
}

/// Whether a runner's instance is asked for and not made.
fn is_unmade(row: &Runner) -> bool {
    matches!(row.instance, Instance::Planned { .. } | Instance::Creating { .. })
}

/// Whether a runner that may live has yet to show that it works.
fn still_unproven(row: &Runner, now: Timestamp) -> bool {
    stands_at(row).is_none_or(|at| at > now)
        && row.retiring.is_none()
        && !matches!(row.instance, Instance::Removing { .. })
        && !matches!(row.registration, Registration::Busy { .. } | Registration::Online { .. })
}

/// When a warm instance has stood for long enough.
fn stands_at(row: &Runner) -> Option<Timestamp> {
    match (&row.instance, &row.registration) {
        (Instance::Ready { since, .. }, Registration::None | Registration::Gone { .. }) => {
            Some(later(*since, STANDS))
        }
        _ => None,
    }
}

/// Creations that take so long that they are not waited for, where the pool has another place.
pub(super) fn stalls(
    pool: &Pool,
    of: &PoolSpec,
    census: &Census<'_>,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    if of.places.len() < 2 {
        return None;
    }
    let wait = of.deadlines.creating / STALLED_AFTER;
    let mut due = None;
    for row in census.coming.iter().chain(&census.unready) {
        let Instance::Creating { since } = row.instance else { continue };
        let until = later(since, wait);
        if until > now {
            due = earlier(due, Some(until));
        } else if !pool.stalled.contains(&row.name) {
            actions.push(Action::NoteStalled(row.name.clone()));
        }
    }
    due
}
