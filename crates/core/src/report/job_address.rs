//! The address of a run or a job at GitHub, as a user copies it from the browser.

use crate::model::{ScopeKind, ScopeName, Spec};

/// The address of a run, or of one job of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAddress {
    /// The host, with its port.
    pub host: String,
    /// The repository's owner.
    pub owner: String,
    /// The repository's name.
    pub name: String,
    /// The run's public id.
    pub run: i64,
    /// The job's public id, where the address has one.
    pub job: Option<i64>,
}

impl JobAddress {
    /// Reads `https://HOST/OWNER/REPO/actions/runs/RUN[/job/JOB]…`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let path = rest.split(['?', '#']).next()?;
        let mut parts = path.split('/');
        let mut word = || parts.next().filter(|part| !part.is_empty());
        let (host, owner, name) = (word()?, word()?, word()?);
        if (word()?, word()?) != ("actions", "runs") {
            return None;
        }
        let run = word()?.parse().ok()?;
        let job = match (word(), word()) {
            (Some("job" | "jobs"), Some(id)) => Some(id.parse().ok()?),
            _ => None,
        };
        let plain = |text: &str| {
            !matches!(text, "." | "..")
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        (plain(owner) && plain(name)).then(|| Self {
            host: host.to_ascii_lowercase(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            run,
            job,
        })
    }

    /// `OWNER/REPO`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The scopes whose credential may read it, the nearest first: of the same host, the repository itself, then its
    /// owner, then any enterprise.
    #[must_use]
    pub fn scopes(&self, spec: &Spec) -> Vec<ScopeName> {
        let mut found: Vec<(u8, ScopeName)> = spec
            .scopes
            .iter()
            .filter(|(_, scope)| {
                let host = scope.url.split("://").nth(1).and_then(|rest| rest.split('/').next());
                host.is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            })
            .filter_map(|(scope, of)| {
                let rank = match &of.kind {
                    ScopeKind::Repository { owner, name } => (owner
                        .eq_ignore_ascii_case(&self.owner)
                        && name.eq_ignore_ascii_case(&self.name))
                    .then_some(0),
                    ScopeKind::Organization(owner) => {
                        owner.eq_ignore_ascii_case(&self.owner).then_some(1)
                    }
                    ScopeKind::Enterprise(_) => Some(2),
                };
                Some((rank?, scope.clone()))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, scope)| scope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, expected: Option<(&str, i64, Option<i64>)>| {
            let read = JobAddress::parse(text);
            let told = read.as_ref().map(|read| (read.repository(), read.run, read.job));
            assert_eq!(
                told,
                expected.map(|(repository, run, job)| (repository.to_owned(), run, job)),
                "{text}"
            );
        };
        check("https://github.com/acme/site/actions/runs/42", Some(("acme/site", 42, None)));
        check(
            "https://github.com/acme/site/actions/runs/42/job/7?pr=1#step:3:1",
            Some(("acme/site", 42, Some(7))),
        );
        check(
            "https://github.com/acme/site/actions/runs/42/attempts/2",
            Some(("acme/site", 42, None)),
        );
        check("http://127.0.0.1:80/acme/site/actions/runs/42", Some(("acme/site", 42, None)));
        check("https://github.com/acme/site/actions/runs/x", None);
        check("https://github.com/acme/site/actions/runs/42/job/x", None);
        check("https://github.com/acme/../actions/runs/42", None);
        check("https://github.com/ac%6de/site/actions/runs/42", None);
        check("42", None);
        check("", None);
    }
}
