//! Runner groups, on the Actions service and on the public REST.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::call::Call;
use crate::ids::{GroupId, ScopeId};
use crate::refusal::{Handled, Refusal, ok};
use crate::scope::ScopeKind;
use crate::sim::Sim;

/// The default group's id in every scope.
pub(crate) const DEFAULT_GROUP: GroupId = GroupId(1);

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub name: String,
    pub allows_public: bool,
}

/// The groups of all scopes.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_id: BTreeMap<(ScopeId, GroupId), Group>,
}

impl Groups {
    pub fn add_default(&mut self, scope: ScopeId) {
        self.by_id.insert(
            (scope, DEFAULT_GROUP),
            Group { name: "Default".to_owned(), allows_public: false },
        );
    }

    pub fn insert(&mut self, scope: ScopeId, id: GroupId, group: Group) {
        self.by_id.insert((scope, id), group);
    }

    pub fn get(&self, scope: ScopeId, id: GroupId) -> Option<&Group> {
        self.by_id.get(&(scope, id))
    }

    pub fn of(&self, scope: ScopeId) -> impl Iterator<Item = (GroupId, &Group)> {
        self.by_id
            .range((scope, GroupId(i64::MIN))..=(scope, GroupId(i64::MAX)))
            .map(|((_, id), group)| (*id, group))
    }
}

impl Sim {
    /// `GET runnergroups/?groupName=`: without a name all of them. Names compare without case (a guess).
    pub(crate) fn service_groups(&self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let wanted = call.query("groupName").map(str::to_lowercase);
        let value: Vec<Value> = self
            .groups
            .of(scope)
            .filter(|(_, group)| wanted.as_ref().is_none_or(|wanted| group.name.to_lowercase() == *wanted))
            .map(|(id, group)| {
                json!({ "id": id, "name": group.name, "size": 0, "isDefaultGroup": id == DEFAULT_GROUP })
            })
            .collect();
        Ok(ok(&json!({ "count": value.len(), "value": value })))
    }

    pub(crate) fn rest_groups(&self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let all: Vec<Value> = self
            .groups
            .of(scope)
            .map(|(id, group)| self.rest_group(call, scope, id, group))
            .collect();
        let page = call.page();
        let shown: Vec<&Value> = all.iter().skip(page.skip()).take(page.per).collect();
        let mut reply = ok(&json!({ "total_count": all.len(), "runner_groups": shown }));
        if let Some(link) = page.link(call, all.len()) {
            crate::refusal::set_header(&mut reply, "link", &link);
        }
        Ok(reply)
    }

    pub(crate) fn rest_group_get(&self, call: &Call<'_>, scope: ScopeId, id: GroupId) -> Handled {
        let group = self.groups.get(scope, id).ok_or_else(Refusal::rest_not_found)?;
        Ok(ok(&self.rest_group(call, scope, id, group)))
    }

    fn rest_group(&self, call: &Call<'_>, scope: ScopeId, id: GroupId, group: &Group) -> Value {
        let (kind, path) = self
            .scopes
            .get(scope)
            .map_or((ScopeKind::Org, ""), |scope| (scope.kind, scope.path.as_str()));
        let prefix = match kind {
            ScopeKind::Enterprise => format!("{}/{path}", call.origin.api),
            _ => format!("{}/orgs/{path}", call.origin.api),
        };
        let mut value = json!({
            "id": id,
            "name": group.name,
            "visibility": "all",
            "default": id == DEFAULT_GROUP,
            "runners_url": format!("{prefix}/actions/runner-groups/{id}/runners"),
            "allows_public_repositories": group.allows_public,
            "workflow_restrictions_read_only": false,
            "restricted_to_workflows": false,
            "selected_workflows": [],
        });
        if kind != ScopeKind::Enterprise {
            value["inherited"] = false.into();
        }
        value
    }
}
