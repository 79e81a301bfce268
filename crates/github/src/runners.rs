//! Registrations as the public REST API shows them (protocol.md, 5.1). Only here GitHub tells whether a runner is online
//! and busy: the Actions service's own look-up by name gives neither, so looking up costs one request of the quota.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dayfly_core::{
    model::{RegistrationId, RunnerName},
    ports::{ForgeError, ForgeErrorKind, RunnerRecord},
};
use futures_util::{StreamExt, stream};
use http::{Method, Response};
use serde::Deserialize;
use url::Url;

use crate::{
    client::Shared,
    conditional::{Page, Remembered},
    limits::header,
    operation::Operation,
    refusal::{Surface, error, unreadable},
    scrub::clean,
};

/// The most that GitHub gives on a page.
const PER_PAGE: &str = "100";

/// A runner group holds 10,000 runners, an enterprise several groups; a list without an end is refused.
const PAGES_MAX: usize = 1_000;

/// How many pages are read at once: a tenth of what GitHub allows.
const PAGES_AT_ONCE: usize = 10;

/// A runner that goes while the pages are read moves others to pages already read. So often the list is begun anew.
const ATTEMPTS: usize = 3;

/// GitHub's runner names have at most 64 characters.
const NAME_MAX: usize = 256;

#[derive(Deserialize)]
struct PageWire {
    total_count: usize,
    runners: Vec<RunnerWire>,
}

/// What a page of the list told.
#[derive(Debug)]
pub(crate) struct Told {
    total: usize,
    runners: Vec<RunnerRecord>,
}

impl Told {
    fn read(body: &[u8]) -> Option<Self> {
        let page: PageWire = serde_json::from_slice(body).ok()?;
        let runners = page.runners.into_iter().map(RunnerRecord::from).collect();
        Some(Self { total: page.total_count, runners })
    }
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
        let gathered = self.gather(&operation, url, None).await?;
        Ok(gathered.runners.into_values().find(|record| record.name == runner.as_str()))
    }

    pub async fn list_runners(self: &Arc<Self>) -> Result<Vec<RunnerRecord>, ForgeError> {
        let operation = Operation::ListRunners { scope: &self.scope };
        let mut counts = (0, 0);
        for _ in 0..ATTEMPTS {
            // Where nothing happened, GitHub says so, and that costs nothing.
            let remembered = Some(&self.memory.runners);
            let gathered = self.gather(&operation, self.runners_url(), remembered).await?;
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
        remembered: Option<&Remembered<Told>>,
    ) -> Result<Gathered, ForgeError> {
        let mut gathered = Gathered { runners: BTreeMap::new(), total: 0 };
        let first = self.page(operation, first, remembered).await?;
        gathered.take(&first);
        // Where the last page is told, the others are read at once: the sooner the whole is read, the less it changes.
        if let Some(pages) = first.links.last.as_ref().and_then(following_pages) {
            let mut pages = stream::iter(pages)
                .map(|url| self.page(operation, url, remembered))
                .buffered(PAGES_AT_ONCE);
            while let Some(page) = pages.next().await {
                gathered.take(&*page?);
            }
            return Ok(gathered);
        }
        let mut next = first.links.next.clone();
        for _ in 0..PAGES_MAX {
            let Some(url) = next else {
                return Ok(gathered);
            };
            let page = self.page(operation, url, remembered).await?;
            gathered.take(&page);
            next = page.links.next.clone();
        }
        Err(unreadable(operation, Surface::Rest, "its pages have no end"))
    }

    async fn page(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        url: Url,
        remembered: Option<&Remembered<Told>>,
    ) -> Result<Arc<Page<Told>>, ForgeError> {
        let read = |body: &[u8]| Told::read(body).map(|told| vec![told]);
        match remembered {
            Some(remembered) => self.page_of(operation, remembered, &url, read).await,
            None => {
                let response = self.rest(operation, Method::GET, &url).await?;
                self.page_in(operation, &url, &response, read).map(Arc::new)
            }
        }
    }
}

impl Gathered {
    fn take(&mut self, page: &Page<Told>) {
        for told in &page.items {
            self.total = self.total.max(told.total);
            self.runners.extend(told.runners.iter().map(|record| (record.id, record.clone())));
        }
    }
}

/// Where the `Link` header leads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    pub next: Option<Url>,
    pub last: Option<Url>,
}

impl Links {
    /// `None` where a link leads to another host, which must not see the token.
    pub fn of(from: &Url, response: &Response<Bytes>) -> Option<Self> {
        let find = |rel: &str| match link(response, rel) {
            Some(target) => {
                from.join(target).ok().filter(|to| to.origin() == from.origin()).map(Some)
            }
            None => Some(None),
        };
        Some(Self { next: find("next")?, last: find("last")? })
    }
}

/// The target of one relation in the `Link` header.
fn link<'a>(response: &'a Response<Bytes>, rel: &str) -> Option<&'a str> {
    header(response.headers(), "link")?.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_rel = |parameter: &str| {
            parameter
                .trim()
                .strip_prefix("rel=")
                .is_some_and(|value| value.trim_matches('"') == rel)
        };
        parameters.split(';').any(is_rel).then_some(target)
    })
}

/// The addresses of the second to the last page, by the last one's; `None` where it has no number that makes sense.
fn following_pages(last: &Url) -> Option<Vec<Url>> {
    let number = last.query_pairs().find(|(key, _)| key == "page")?.1.parse::<usize>().ok()?;
    if !(2..=PAGES_MAX).contains(&number) {
        return None;
    }
    let page = |page: usize| {
        let mut url = last.clone();
        let others: Vec<_> = last.query_pairs().filter(|(key, _)| key != "page").collect();
        url.query_pairs_mut().clear().extend_pairs(others).append_pair("page", &page.to_string());
        url
    };
    Some((2..=number).map(page).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(header: &str) -> Option<(Option<String>, Option<String>)> {
        let mut response = Response::new(Bytes::new());
        response.headers_mut().insert("link", header.parse().unwrap());
        let from = Url::parse("https://a/b").unwrap();
        Links::of(&from, &response)
            .map(|links| (links.next.map(String::from), links.last.map(String::from)))
    }

    #[test]
    fn link_headers() {
        let check = |header: &str, next: Option<&str>, last: Option<&str>| {
            let expected = (next.map(str::to_owned), last.map(str::to_owned));
            assert_eq!(links(header), Some(expected), "{header}");
        };
        let (two, nine) = (Some("https://a/b?page=2"), Some("https://a/b?page=9"));
        check(r#"<https://a/b?page=2>; rel="next", <https://a/b?page=9>; rel="last""#, two, nine);
        check(r#"<https://a/b?page=1>; rel="prev",<https://a/b?page=2>;x=y; rel=next"#, two, None);
        check(r#"</b?page=9>; rel="last""#, None, nine);
        check("<https://a/b; rel=\"next\"", None, None);
        check("nonsense, <>", None, None);
        assert_eq!(links(r#"<https://evil/b?page=2>; rel="next""#), None);
    }

    #[test]
    fn pages_by_the_last() {
        let check = |last: &str, expected: Option<&[&str]>| {
            let pages = following_pages(&Url::parse(last).unwrap());
            let pages = pages.map(|pages| pages.into_iter().map(String::from).collect::<Vec<_>>());
            assert_eq!(
                pages,
                expected.map(|urls| urls.iter().map(|url| (*url).to_owned()).collect()),
                "{last}"
            );
        };
        let (two, three) = (
            "https://a/b?per_page=100&name=x%26y&page=2",
            "https://a/b?per_page=100&name=x%26y&page=3",
        );
        check("https://a/b?page=3&per_page=100&name=x%26y", Some(&[two, three]));
        for odd in ["?page=1", "?page=0", "?page=-4", "?page=1001", "?page=x", "", "?page="] {
            check(&format!("https://a/b{odd}"), None);
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(header in "[<>;,=a-z\"/:? ]{0,60}") {
            let _ = links(&header);
        }
    }
}
