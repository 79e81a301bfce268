//! Runner scale sets: their record, CRUD and statistics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::ids::{GroupId, HoldId, JobId, RunnerId, ScopeId, SetId};
use crate::message::{Entry, FIRST_MESSAGE, Message};
use crate::moment;
use crate::refusal::{BAD_ARGUMENT, Handled, Refusal, SET_EXISTS, empty, ok};
use crate::route::SERVICE_BASE;
use crate::session::Session;
use crate::sim::Sim;
use crate::waiting::BucketId;

/// A label as sets carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    #[serde(rename = "type", default = "system")]
    pub kind: String,
    pub name: String,
}

fn system() -> String {
    "System".to_owned()
}

#[derive(Debug)]
pub(crate) struct ScaleSet {
    pub id: SetId,
    pub name: String,
    pub scope: ScopeId,
    pub group: GroupId,
    pub labels: Vec<Label>,
    pub setting: Value,
    pub created_at: Timestamp,
    pub session: Option<Session>,
    /// How sessions ended that may still be asked about: `true` when the broker lost it.
    pub ended: VecDeque<(uuid::Uuid, bool)>,
    /// The held poll.
    pub poll: Option<HoldId>,
    /// Buckets whose jobs this set may take.
    pub buckets: BTreeSet<BucketId>,
    /// Assigned jobs without a runner.
    pub assigned: BTreeSet<JobId>,
    /// Jobs handed to a runner that has not accepted.
    pub offered: usize,
    pub running: usize,
    pub runners: BTreeSet<RunnerId>,
    /// Connected runners that poll and have no job, by id: the next to get one.
    pub ready: BTreeSet<RunnerId>,
    pub online: usize,
    pub busy: usize,
    /// In acquire mode: jobs offered by JobAvailable and not yet acquired by anyone.
    pub announced: BTreeSet<JobId>,
    /// In acquire mode: per bucket, the newest job that was offered.
    announced_to: BTreeMap<BucketId, JobId>,
    pub pending: VecDeque<Entry>,
    pub next_message: i64,
    pub log: BTreeMap<i64, Message>,
}

/// A set's counts, as messages and sessions carry them.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    total_available_jobs: usize,
    total_acquired_jobs: usize,
    total_assigned_jobs: usize,
    total_running_jobs: usize,
    total_registered_runners: usize,
    total_busy_runners: usize,
    total_idle_runners: usize,
}

/// A set as the service shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetBody<'a> {
    id: SetId,
    name: &'a str,
    runner_group_id: GroupId,
    runner_group_name: &'a str,
    labels: &'a [Label],
    // The key's capital is the service's own.
    #[serde(rename = "RunnerSetting")]
    setting: &'a Value,
    created_on: String,
    runner_jit_config_url: String,
    get_acquirable_jobs_url: String,
    acquire_jobs_url: String,
    statistics: Statistics,
    enabled: bool,
    status: &'static str,
}

/// Sessions ended that a set remembers, to tell "expired" from "evicted".
pub(crate) const ENDED_MAX: usize = 16;

impl ScaleSet {
    /// Jobs that are the set's: without a runner, handed over, or running.
    pub fn total_assigned(&self) -> usize {
        self.assigned.len() + self.offered + self.running
    }

    /// The next job to offer in acquire mode, and its bucket.
    pub fn next_to_announce(
        &self,
        buckets: &[crate::waiting::Bucket],
    ) -> Option<(JobId, BucketId)> {
        self.buckets
            .iter()
            .filter_map(|id| {
                let from = self.announced_to.get(id).map_or(i64::MIN, |job| job.0 + 1);
                let job = buckets
                    .get(*id)?
                    .jobs
                    .range(JobId(from)..)
                    .find(|job| !self.announced.contains(job))?;
                Some((*job, *id))
            })
            .min()
    }

    pub fn announce(&mut self, job: JobId, bucket: BucketId) {
        self.announced.insert(job);
        self.announced_to.insert(bucket, job);
    }

    /// A job came (back) into a bucket: it may be offered again.
    pub fn rewind(&mut self, bucket: BucketId, job: JobId) {
        if let Some(newest) = self.announced_to.get_mut(&bucket) {
            *newest = (*newest).min(JobId(job.0 - 1));
        }
    }

    /// A new session hears of every job that is still to be acquired. A guess: whether GHES offers again was not recorded.
    pub fn forget_announcements(&mut self) {
        self.announced.clear();
        self.announced_to.clear();
    }
}

/// All sets.
#[derive(Debug, Default)]
pub(crate) struct ScaleSets {
    by_id: BTreeMap<SetId, ScaleSet>,
    by_name: BTreeMap<(ScopeId, GroupId, String), SetId>,
}

impl ScaleSets {
    pub fn get(&self, id: SetId) -> Option<&ScaleSet> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: SetId) -> Option<&mut ScaleSet> {
        self.by_id.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ScaleSet> {
        self.by_id.values()
    }

    fn key(scope: ScopeId, group: GroupId, name: &str) -> (ScopeId, GroupId, String) {
        (scope, group, name.to_lowercase())
    }
}

/// A set as requests carry it; unknown members are ignored, and the setting's name is taken in any case.
#[derive(Debug, Default)]
struct Wanted {
    name: Option<String>,
    group: Option<GroupId>,
    labels: Option<Vec<Label>>,
    setting: Option<Value>,
}

impl Wanted {
    fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let malformed = |what: String| Refusal::service(400, BAD_ARGUMENT, what);
        let body: Map<String, Value> = call.json().map_err(malformed)?;
        let mut wanted = Self::default();
        for (key, value) in body {
            match key.to_lowercase().as_str() {
                "name" => {
                    wanted.name = value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
                }
                "runnergroupid" => wanted.group = value.as_i64().filter(|id| *id > 0).map(GroupId),
                "labels" => {
                    let labels: Vec<Label> = serde_json::from_value(value)
                        .map_err(|error| malformed(format!("labels: {error}")))?;
                    wanted.labels = (!labels.is_empty()).then_some(labels);
                }
                "runnersetting" if value.is_object() => wanted.setting = Some(value),
                _ => {}
            }
        }
        if wanted.name.as_ref().is_some_and(|name| name.len() > 256) {
            return Err(malformed(
                "The name of a runner scale set has at most 256 characters.".to_owned(),
            ));
        }
        Ok(wanted)
    }
}

impl Sim {
    /// A set that the scope of the caller can see.
    pub(crate) fn set_in(&self, scope: ScopeId, id: SetId) -> Result<&ScaleSet, Refusal> {
        self.sets.get(id).filter(|set| set.scope == scope).ok_or_else(|| Refusal::no_set(id))
    }

    pub(crate) fn sets_list(&self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let group = call.number("runnerGroupId").map(GroupId);
        let found: Vec<&ScaleSet> = match (call.query("name"), group) {
            (Some(name), Some(group)) => {
                let key = ScaleSets::key(scope, group, name);
                self.sets.by_name.get(&key).and_then(|id| self.sets.get(*id)).into_iter().collect()
            }
            (name, group) => {
                let ids = self.scopes.get(scope).map(|scope| &scope.sets).into_iter().flatten();
                ids.filter_map(|id| self.sets.get(*id))
                    .filter(|set| name.is_none_or(|name| set.name.eq_ignore_ascii_case(name)))
                    .filter(|set| group.is_none_or(|group| set.group == group))
                    .collect()
            }
        };
        let value: Vec<SetBody<'_>> =
            found.into_iter().map(|set| self.set_body(call, set)).collect();
        Ok(ok(&json!({ "count": value.len(), "value": value })))
    }

    pub(crate) fn set_get(&self, call: &Call<'_>, scope: ScopeId, id: SetId) -> Handled {
        Ok(ok(&self.set_body(call, self.set_in(scope, id)?)))
    }

    pub(crate) fn set_create(&mut self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let wanted = Wanted::read(call)?;
        let name = wanted.name.ok_or_else(|| {
            Refusal::service(400, BAD_ARGUMENT, "The runner scale set needs a name.")
        })?;
        let group = wanted.group.unwrap_or(crate::group::DEFAULT_GROUP);
        self.group_exists(scope, group)?;
        // The server has no default label: clients fill it in.
        let labels = wanted.labels.unwrap_or_default();
        let setting = wanted.setting.unwrap_or_else(|| json!({}));
        let id =
            self.make_set(call.now, (scope, group), &name, labels, setting).ok_or_else(|| {
                let what = format!(
                    "Runner scale set with name {name} already exists in this runner group."
                );
                Refusal::service(400, SET_EXISTS, what)
            })?;
        self.set_get(call, scope, id)
    }

    /// A new set; `None` where its group has one of that name.
    pub(crate) fn make_set(
        &mut self,
        now: Timestamp,
        (scope, group): (ScopeId, GroupId),
        name: &str,
        labels: Vec<Label>,
        setting: Value,
    ) -> Option<SetId> {
        let key = ScaleSets::key(scope, group, name);
        if self.sets.by_name.contains_key(&key) {
            return None;
        }
        let id = SetId(self.ids.sets.next());
        let set = ScaleSet {
            id,
            labels,
            name: name.to_owned(),
            scope,
            group,
            setting,
            created_at: now,
            session: None,
            ended: VecDeque::new(),
            poll: None,
            buckets: BTreeSet::new(),
            assigned: BTreeSet::new(),
            offered: 0,
            running: 0,
            runners: BTreeSet::new(),
            ready: BTreeSet::new(),
            online: 0,
            busy: 0,
            announced: BTreeSet::new(),
            announced_to: BTreeMap::new(),
            pending: VecDeque::new(),
            next_message: FIRST_MESSAGE,
            log: BTreeMap::new(),
        };
        self.sets.by_name.insert(key, id);
        self.sets.by_id.insert(id, set);
        if let Some(scope) = self.scopes.get_mut(scope) {
            scope.sets.insert(id);
        }
        self.match_all(id);
        Some(id)
    }

    pub(crate) fn set_update(&mut self, call: &Call<'_>, scope: ScopeId, id: SetId) -> Handled {
        let wanted = Wanted::read(call)?;
        let set = self.set_in(scope, id)?;
        let name = wanted.name.unwrap_or_else(|| set.name.clone());
        let group = wanted.group.unwrap_or(set.group);
        let (old, new) =
            (ScaleSets::key(scope, set.group, &set.name), ScaleSets::key(scope, group, &name));
        self.group_exists(scope, group)?;
        if self.sets.by_name.get(&new).is_some_and(|taken| *taken != id) {
            return Err(Refusal::service(
                400,
                SET_EXISTS,
                format!("Runner scale set with name {name} already exists."),
            ));
        }
        self.sets.by_name.remove(&old);
        self.sets.by_name.insert(new, id);
        if let Some(set) = self.sets.get_mut(id) {
            set.name = name;
            set.group = group;
            if let Some(labels) = wanted.labels {
                set.labels = labels;
            }
            if let Some(setting) = wanted.setting {
                set.setting = setting;
            }
        }
        self.match_all(id);
        self.wake_set(id);
        self.set_get(call, scope, id)
    }

    pub(crate) fn set_delete(&mut self, at: Timestamp, scope: ScopeId, id: SetId) -> Handled {
        self.set_in(scope, id)?;
        self.drop_set(at, id);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// Removes a set: its session ends, its runners go, and its jobs wait again (a guess). A job that runs goes on.
    pub(crate) fn drop_set(&mut self, at: Timestamp, id: SetId) {
        self.end_session(at, id, false);
        let Some(set) = self.sets.by_id.remove(&id) else { return };
        self.sets.by_name.remove(&ScaleSets::key(set.scope, set.group, &set.name));
        if let Some(scope) = self.scopes.get_mut(set.scope) {
            scope.sets.remove(&id);
        }
        for bucket in &set.buckets {
            if let Some(bucket) = self.waiting.buckets.get_mut(*bucket) {
                bucket.sets.remove(&id);
            }
        }
        for runner in &set.runners {
            if let Some(job) = self.orphan_runner(*runner) {
                self.detach_job(job);
            } else {
                self.remove_runner(at, *runner);
            }
        }
        for job in set.assigned {
            self.timers.cancel(crate::timer::Timer::Assigned(job));
            self.wait_for_taker(at, job);
        }
    }

    fn group_exists(&self, scope: ScopeId, group: GroupId) -> Result<(), Refusal> {
        self.groups.get(scope, group).map(|_| ()).ok_or_else(|| {
            Refusal::service(400, BAD_ARGUMENT, format!("Runner group {group} does not exist."))
        })
    }

    /// The statistics as they are now.
    pub(crate) fn statistics(&self, set: &ScaleSet) -> Statistics {
        let available: usize = set
            .buckets
            .iter()
            .filter_map(|bucket| self.waiting.buckets.get(*bucket))
            .map(|bucket| bucket.jobs.len())
            .sum();
        Statistics {
            total_available_jobs: available,
            total_acquired_jobs: set.total_assigned() - set.running,
            total_assigned_jobs: set.total_assigned(),
            total_running_jobs: set.running,
            total_registered_runners: set.runners.len(),
            total_busy_runners: set.busy,
            total_idle_runners: set.online.saturating_sub(set.busy),
        }
    }

    pub(crate) fn set_body<'a>(&'a self, call: &Call<'_>, set: &'a ScaleSet) -> SetBody<'a> {
        let group = self.groups.get(set.scope, set.group).map_or("", |group| group.name.as_str());
        let base =
            format!("{}{SERVICE_BASE}/_apis/runtime/runnerscalesets/{}", call.origin.base, set.id);
        SetBody {
            id: set.id,
            name: &set.name,
            runner_group_id: set.group,
            runner_group_name: group,
            labels: &set.labels,
            setting: &set.setting,
            created_on: moment::precise(Some(set.created_at)),
            runner_jit_config_url: format!("{base}/generatejitconfig"),
            get_acquirable_jobs_url: format!("{base}/acquirablejobs"),
            acquire_jobs_url: format!("{base}/acquirejobs"),
            statistics: self.statistics(set),
            enabled: true,
            status: if set.session.is_some() { "online" } else { "offline" },
        }
    }
}
