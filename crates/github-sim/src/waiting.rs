//! Jobs that wait, in buckets of equal demand, so that who may take a job is worked out once per kind of job and not per job.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupId, JobId, ScopeId, SetId};
use crate::sim::Sim;

/// Index of a bucket.
pub(crate) type BucketId = usize;

/// The waiting jobs of one repository with the same labels.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub repo: ScopeId,
    pub labels: BTreeSet<String>,
    pub jobs: BTreeSet<JobId>,
    /// Sets that may take these jobs.
    pub sets: BTreeSet<SetId>,
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub buckets: Vec<Bucket>,
    by_key: BTreeMap<(ScopeId, BTreeSet<String>), BucketId>,
}

/// Labels as they are compared: without case.
pub(crate) fn normal<'a>(labels: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    labels.into_iter().map(|label| label.to_lowercase()).collect()
}

impl Sim {
    /// The bucket of jobs like this, made when it is the first.
    pub(crate) fn bucket(&mut self, repo: ScopeId, labels: &[String]) -> BucketId {
        let labels = normal(labels);
        if let Some(id) = self.waiting.by_key.get(&(repo, labels.clone())) {
            return *id;
        }
        let id = self.waiting.buckets.len();
        self.waiting.by_key.insert((repo, labels.clone()), id);
        self.waiting.buckets.push(Bucket {
            repo,
            labels,
            jobs: BTreeSet::new(),
            sets: BTreeSet::new(),
        });
        let sets: Vec<SetId> = self
            .scopes
            .chain(repo)
            .into_iter()
            .filter_map(|scope| self.scopes.get(scope))
            .flat_map(|scope| scope.sets.iter().copied())
            .collect();
        for set in sets {
            self.match_set(set, id);
        }
        id
    }

    /// Works out anew which buckets a set may take from, after it was made or its labels or group changed.
    pub(crate) fn match_all(&mut self, set: SetId) {
        for bucket in 0..self.waiting.buckets.len() {
            self.match_set(set, bucket);
        }
    }

    fn match_set(&mut self, set_id: SetId, bucket_id: BucketId) {
        let Some(set) = self.sets.get(set_id) else { return };
        let Some(bucket) = self.waiting.buckets.get(bucket_id) else { return };
        let labels = normal(set.labels.iter().map(|label| &label.name));
        let fits =
            bucket.labels.is_subset(&labels) && self.reaches(set.scope, set.group, bucket.repo);
        if let Some(set) = self.sets.get_mut(set_id) {
            if fits {
                set.buckets.insert(bucket_id);
            } else {
                set.buckets.remove(&bucket_id);
            }
        }
        if let Some(bucket) = self.waiting.buckets.get_mut(bucket_id) {
            if fits {
                bucket.sets.insert(set_id);
            } else {
                bucket.sets.remove(&set_id);
            }
        }
    }

    /// Whether runners of a scope and group serve a repository. Runners of the repository itself bypass group policy.
    pub(crate) fn reaches(&self, scope: ScopeId, group: GroupId, repo: ScopeId) -> bool {
        if scope == repo {
            return true;
        }
        let private = self.scopes.get(repo).is_none_or(|repo| repo.private);
        self.scopes.chain(repo).contains(&scope)
            && (private || self.groups.get(scope, group).is_some_and(|group| group.allows_public))
    }

    /// The oldest waiting job of these buckets.
    pub(crate) fn oldest<'a>(
        &self,
        buckets: impl IntoIterator<Item = &'a BucketId>,
    ) -> Option<JobId> {
        buckets
            .into_iter()
            .filter_map(|id| self.waiting.buckets.get(*id)?.jobs.first().copied())
            .min()
    }
}
