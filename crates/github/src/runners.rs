//! Registrations as the public REST API shows them (protocol.md, 5.1). Only here GitHub tells whether a runner is online
//! and busy: the Actions service's own look-up by name gives neither, so looking up costs one request of the quota.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dayfly_core::{
    model::{RegistrationId, RunnerName},
    ports::{ForgeError, ForgeErrorKind, RunnerRecord},
};
use http::{Method, Response};
use serde::Deserialize;
use url::Url;

use crate::{
    client::Shared,
    limits::header,
    operation::Operation,
    refusal::{Surface, error, unreadable},
    scrub::clean,
};

/// The most that GitHub gives on a page.
const PER_PAGE: &str = "100";

/// A runner group holds 10,000 runners, an enterprise several groups; a list without an end is refused.
const PAGES_MAX: usize = 1_000;

/// A runner that goes while the pages are read moves others to pages already read. So often the list is begun anew.
const ATTEMPTS: usize = 3;

/// GitHub's runner names have at most 64 characters.
const NAME_MAX: usize = 256;

#[derive(Deserialize)]
struct Page {
    total_count: usize,
    runners: Vec<RunnerWire>,
}

#[derive(Deserialize)]
struct RunnerWire {
    id: i64,
    name: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    busy: Option<bool>,
}

impl From<RunnerWire> for RunnerRecord {
    fn from(wire: RunnerWire) -> Self {
        Self {
            id: RegistrationId(wire.id),
            name: clean(&wire.name, NAME_MAX),
            online: wire.status.map(|status| status.eq_ignore_ascii_case("online")),
            busy: wire.busy,
        }
    }
}

/// All pages of a list, read once.
struct Gathered {
    runners: BTreeMap<RegistrationId, RunnerRecord>,
    /// The largest total that any page told.
    total: usize,
}

impl Shared {
    pub async fn find_runner(
        self: &Arc<Self>,
        runner: &RunnerName,
    ) -> Result<Option<RunnerRecord>, ForgeError> {
        let operation = Operation::FindRunner(runner);
        let mut url = self.runners_url();
        url.query_pairs_mut().append_pair("name", runner.as_str());
        // A server that does not know the filter gives all runners: the name is compared here too.
        let gathered = self.gather(&operation, url).await?;
        Ok(gathered.runners.into_values().find(|record| record.name == runner.as_str()))
    }

    pub async fn list_runners(self: &Arc<Self>) -> Result<Vec<RunnerRecord>, ForgeError> {
        let operation = Operation::ListRunners { scope: &self.scope };
        let mut counts = (0, 0);
        for _ in 0..ATTEMPTS {
            let gathered = self.gather(&operation, self.runners_url()).await?;
            counts = (gathered.runners.len(), gathered.total);
            if counts.0 >= counts.1 {
                return Ok(gathered.runners.into_values().collect());
            }
        }
        let detail = format!(
            "the list changed while it was read, {ATTEMPTS} times: {} runners came of the {} that GitHub counts; it is \
             tried again",
            counts.0, counts.1
        );
        Err(error(&operation, ForgeErrorKind::Transient, &detail))
    }

    fn runners_url(&self) -> Url {
        let mut url = self.address.scope_url(&["actions", "runners"]);
        url.query_pairs_mut().append_pair("per_page", PER_PAGE);
        url
    }

    async fn gather(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        first: Url,
    ) -> Result<Gathered, ForgeError> {
        let odd = |what| unreadable(operation, Surface::Rest, what);
        let mut gathered = Gathered { runners: BTreeMap::new(), total: 0 };
        let mut next = Some(first);
        for _ in 0..PAGES_MAX {
            let Some(url) = next else {
                return Ok(gathered);
            };
            let response = self.rest(operation, Method::GET, &url).await?;
            let page: Page = serde_json::from_slice(response.body())
                .map_err(|_| odd("it holds no list of runners"))?;
            gathered.total = gathered.total.max(page.total_count);
            gathered.runners.extend(
                page.runners.into_iter().map(RunnerRecord::from).map(|record| (record.id, record)),
            );
            next = match next_page(&response) {
                Some(link) => Some(
                    url.join(link)
                        .ok()
                        .filter(|next| next.origin() == url.origin())
                        .ok_or_else(|| odd("its next page is on another host"))?,
                ),
                None => None,
            };
        }
        Err(odd("its pages have no end"))
    }
}

/// The address of the next page, by the `Link` header.
fn next_page(response: &Response<Bytes>) -> Option<&str> {
    header(response.headers(), "link")?.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"))
            .then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let check = |link: &str, expected: Option<&str>| {
            let mut response = Response::new(Bytes::new());
            response.headers_mut().insert("link", link.parse().unwrap());
            assert_eq!(next_page(&response), expected, "{link}");
        };
        check(
            r#"<https://a/b?page=2>; rel="next", <https://a/b?page=9>; rel="last""#,
            Some("https://a/b?page=2"),
        );
        check(
            r#"<https://a/b?page=1>; rel="prev",<https://a/b?page=3>;x=y; rel="next""#,
            Some("https://a/b?page=3"),
        );
        check(r#"<https://a/b?page=9>; rel="last""#, None);
        check("<https://a/b; rel=\"next\"", None);
        check("nonsense, <>", None);
    }
}
