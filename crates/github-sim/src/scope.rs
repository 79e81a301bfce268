//! Organisations, users, repositories and enterprises, and who belongs to whom.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, RunnerId, ScopeId, SetId};
use crate::route::ScopePath;
use crate::run::RunStatus;
use crate::sim::Sim;

/// What a scope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// An organisation.
    Org,
    /// A user, who owns repositories but no runners.
    User,
    /// A repository.
    Repo,
    /// An enterprise.
    Enterprise,
}

/// How a scope's sets get jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assignment {
    /// GitHub gives jobs up to the advertised capacity (github.com).
    #[default]
    Auto,
    /// GitHub offers jobs and the client acquires them (GHES).
    Acquire,
}

#[derive(Debug)]
pub(crate) struct Scope {
    pub kind: ScopeKind,
    /// Login, slug, or `owner/name`, as first written.
    pub path: String,
    pub parent: Option<ScopeId>,
    pub private: bool,
    pub assignment: Assignment,
    pub sets: BTreeSet<SetId>,
    pub runners: BTreeSet<RunnerId>,
    pub runs: BTreeSet<RunId>,
    pub runs_by_status: BTreeMap<RunStatus, BTreeSet<RunId>>,
    pub runs_count: i64,
}

/// A scope to create, as the control API takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSpec {
    /// `org`, `owner/repo` or `enterprises/slug`. The owner of a repository is created with it.
    pub path: String,
    /// For an owner: organisation (the default) or user.
    #[serde(default)]
    pub kind: Option<ScopeKind>,
    /// For an organisation: the enterprise it belongs to, created with it.
    #[serde(default)]
    pub enterprise: Option<String>,
    /// For a repository: whether it is public.
    #[serde(default)]
    pub public: bool,
    /// How sets of this scope get jobs.
    #[serde(default)]
    pub assignment: Assignment,
}

/// All scopes, by path without case.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    by_path: BTreeMap<String, ScopeId>,
    by_id: BTreeMap<ScopeId, Scope>,
}

impl Scopes {
    /// The scope of a path (`org`, `owner/repo`, `enterprises/slug`), compared without case.
    pub fn find(&self, path: &str) -> Option<ScopeId> {
        self.by_path.get(&path.trim_matches('/').to_lowercase()).copied()
    }

    pub fn at(&self, path: &ScopePath) -> Option<ScopeId> {
        match path {
            ScopePath::Owner(login) => self.find(login),
            ScopePath::Repository(owner, name) => self.find(&format!("{owner}/{name}")),
            ScopePath::Enterprise(slug) => self.find(&format!("enterprises/{slug}")),
        }
    }

    pub fn get(&self, id: ScopeId) -> Option<&Scope> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: ScopeId) -> Option<&mut Scope> {
        self.by_id.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ScopeId, &Scope)> {
        self.by_id.iter().map(|(id, scope)| (*id, scope))
    }

    /// The scope and all above it: repository, owner, enterprise.
    pub fn chain(&self, id: ScopeId) -> Vec<ScopeId> {
        std::iter::successors(Some(id), |id| self.get(*id).and_then(|scope| scope.parent))
            .take(3)
            .collect()
    }

    /// The owner that credentials and App installations are about: the repository's owner, else the scope itself.
    pub fn owner(&self, id: ScopeId) -> ScopeId {
        match self.get(id) {
            Some(scope) if scope.kind == ScopeKind::Repo => scope.parent.unwrap_or(id),
            _ => id,
        }
    }
}

impl Sim {
    /// Creates what is missing of a scope and sets what `spec` says of it.
    pub(crate) fn create_scope(&mut self, spec: &ScopeSpec) -> Result<ScopeId, String> {
        let parts: Vec<&str> = spec.path.split('/').filter(|part| !part.is_empty()).collect();
        let (kind, parent) = match parts.as_slice() {
            [first, _] if first.eq_ignore_ascii_case("enterprises") => {
                (ScopeKind::Enterprise, None)
            }
            [owner, _] => {
                let owner = match self.scopes.find(owner) {
                    Some(owner) => owner,
                    None => self.insert_scope((*owner).to_owned(), ScopeKind::Org, None)?,
                };
                (ScopeKind::Repo, Some(owner))
            }
            [_] => (
                spec.kind.unwrap_or(ScopeKind::Org),
                self.scopes.find(&spec.path).and_then(|id| self.scopes.get(id)?.parent),
            ),
            _ => {
                return Err(format!(
                    "`{}` is neither ORG, OWNER/REPO nor enterprises/SLUG",
                    spec.path
                ));
            }
        };
        let parent = match &spec.enterprise {
            Some(slug) => {
                let path = format!("enterprises/{slug}");
                Some(match self.scopes.find(&path) {
                    Some(id) => id,
                    None => self.insert_scope(path, ScopeKind::Enterprise, None)?,
                })
            }
            None => parent,
        };
        let path = parts.join("/");
        let id = match self.scopes.find(&path) {
            Some(id) => id,
            None => self.insert_scope(path, kind, parent)?,
        };
        if let Some(scope) = self.scopes.get_mut(id) {
            scope.parent = parent;
            scope.private = !spec.public;
            scope.assignment = spec.assignment;
        }
        Ok(id)
    }

    fn insert_scope(
        &mut self,
        path: String,
        kind: ScopeKind,
        parent: Option<ScopeId>,
    ) -> Result<ScopeId, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if path.len() > 200 || !path.chars().all(allowed) {
            return Err(format!("`{path}` is not a name that GitHub would take"));
        }
        let id = ScopeId(self.ids.scopes.next());
        self.scopes.by_path.insert(path.to_lowercase(), id);
        let scope = Scope {
            kind,
            path,
            parent,
            private: true,
            assignment: Assignment::Auto,
            sets: BTreeSet::new(),
            runners: BTreeSet::new(),
            runs: BTreeSet::new(),
            runs_by_status: BTreeMap::new(),
            runs_count: 0,
        };
        self.scopes.by_id.insert(id, scope);
        self.groups.add_default(id);
        Ok(id)
    }
}
