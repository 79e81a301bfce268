//! The public REST of an organisation's repositories, and of GitHub itself.

use serde_json::{Value, json};

use crate::call::Call;
use crate::ids::ScopeId;
use crate::moment;
use crate::refusal::{Handled, Reply, ok, set_header};
use crate::scope::ScopeKind;
use crate::sim::Sim;

impl Sim {
    /// The repositories of an organisation, those with the newest runs first: the simulation's runs stand for pushes.
    pub(crate) fn repos_list(&self, call: &Call<'_>, owner: ScopeId) -> Handled {
        let mut repos: Vec<(Option<jiff::Timestamp>, ScopeId)> = self
            .scopes
            .iter()
            .filter(|(_, scope)| scope.kind == ScopeKind::Repo && scope.parent == Some(owner))
            .map(|(id, scope)| {
                let newest = scope.runs.last().and_then(|run| self.runs.get(run));
                (newest.map(|run| run.created_at), id)
            })
            .collect();
        repos.sort_by(|one, other| other.cmp(one));
        let page = call.page();
        let shown: Vec<Value> = repos
            .iter()
            .skip(page.skip())
            .take(page.per)
            .map(|(pushed, id)| {
                let mut repo = self.repository_json(&call.origin, *id);
                repo["pushed_at"] = pushed.map(moment::seconds).into();
                repo["archived"] = false.into();
                repo["disabled"] = false.into();
                repo
            })
            .collect();
        let mut reply = ok(&shown);
        if let Some(link) = page.link(call, repos.len()) {
            set_header(&mut reply, "link", &link);
        }
        Ok(reply)
    }

    /// What GitHub tells of itself.
    pub(crate) fn meta(&self) -> Reply {
        ok(&json!({
            "verifiable_password_authentication": false,
            "hooks": self.options.hook_addresses,
        }))
    }
}
