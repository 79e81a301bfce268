//! Lists that are asked for again and again: each page is kept with the tag by which GitHub says that it still holds, for that
//! answer costs nothing (protocol.md, 5.5). What is kept is what was read of a page, never the page itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use dayfly_core::ports::ForgeError;
use http::{HeaderValue, Method, Response, StatusCode, header};
use url::Url;

use crate::{
    client::Shared,
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, unreadable},
    runners::Links,
    wire::locked,
};

/// Pages of one kind that are kept: those of a thousand queued runs, and some. Beyond it, the oldest asked for go.
const PAGES_KEPT: usize = 4_000;

/// Pages of one list that are read: GitHub's own filtered lists end at 1,000 items, which are 10 pages.
const PAGES_MAX: usize = 100;

/// One page, read.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    pub links: Links,
}

struct Kept<T> {
    tag: HeaderValue,
    page: Arc<Page<T>>,
    /// The larger, the later it was asked for.
    asked: u64,
}

/// The pages of one kind.
pub(crate) struct Remembered<T>(Mutex<Pages<T>>);

struct Pages<T> {
    by_url: BTreeMap<String, Kept<T>>,
    asked: u64,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new(Pages { by_url: BTreeMap::new(), asked: 0 }))
    }
}

impl<T> Remembered<T> {
    fn get(&self, url: &Url) -> Option<(HeaderValue, Arc<Page<T>>)> {
        let mut pages = locked(&self.0);
        pages.asked += 1;
        let asked = pages.asked;
        let kept = pages.by_url.get_mut(url.as_str())?;
        kept.asked = asked;
        Some((kept.tag.clone(), Arc::clone(&kept.page)))
    }

    fn keep(&self, url: &Url, tag: HeaderValue, page: &Arc<Page<T>>) {
        let mut pages = locked(&self.0);
        pages.asked += 1;
        let kept = Kept { tag, page: Arc::clone(page), asked: pages.asked };
        pages.by_url.insert(url.as_str().to_owned(), kept);
        while pages.by_url.len() > PAGES_KEPT {
            let oldest = pages.by_url.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(oldest) = oldest.map(|(url, _)| url.clone()) else { return };
            pages.by_url.remove(&oldest);
        }
    }
}

impl Shared {
    /// One page, which GitHub need not send again where it has not changed. `read` takes what is wanted out of a body.
    pub async fn page_of<T>(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        remembered: &Remembered<T>,
        url: &Url,
        read: impl Fn(&[u8]) -> Option<Vec<T>>,
    ) -> Result<Arc<Page<T>>, ForgeError> {
        let known = remembered.get(url);
        let tag = known.as_ref().map(|(tag, _)| tag);
        let asked = self.rest_ask(operation, Method::GET, url, Bytes::new(), tag).await?;
        let (authorization, response) = asked;
        if let (StatusCode::NOT_MODIFIED, Some((_, page))) = (response.status(), known) {
            return Ok(page);
        }
        if !response.status().is_success() {
            let (surface, bucket) = (Surface::Rest, Bucket::Core);
            return Err(self.rest_refusal(operation, surface, bucket, &authorization, &response));
        }
        let page = Arc::new(self.page_in(operation, url, &response, read)?);
        if let Some(tag) = response.headers().get(header::ETAG) {
            remembered.keep(url, tag.clone(), &page);
        }
        Ok(page)
    }

    /// The page that an answer holds.
    pub fn page_in<T>(
        &self,
        operation: &Operation<'_>,
        url: &Url,
        response: &Response<Bytes>,
        read: impl Fn(&[u8]) -> Option<Vec<T>>,
    ) -> Result<Page<T>, ForgeError> {
        let odd = |what| unreadable(operation, Surface::Rest, what);
        let items = read(response.body()).ok_or_else(|| odd("it holds no such list"))?;
        let links =
            Links::of(url, response).ok_or_else(|| odd("its next page is on another host"))?;
        Ok(Page { items, links })
    }

    /// All pages of a list, up to the first of which `enough` holds.
    pub async fn pages_of<T>(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        remembered: &Remembered<T>,
        first: Url,
        read: impl Fn(&[u8]) -> Option<Vec<T>>,
        enough: impl Fn(&[T]) -> bool,
    ) -> Result<Vec<Arc<Page<T>>>, ForgeError> {
        let mut pages = Vec::new();
        let mut next = Some(first);
        while let Some(url) = next {
            if pages.len() >= PAGES_MAX {
                return Err(unreadable(operation, Surface::Rest, "its pages have no end"));
            }
            let page = self.page_of(operation, remembered, &url, &read).await?;
            next = page.links.next.clone().filter(|_| !enough(&page.items));
            pages.push(page);
        }
        Ok(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let remembered = Remembered::default();
        let url = |number: usize| Url::parse(&format!("https://a/{number}")).unwrap();
        let page = Arc::new(Page { items: vec![7], links: Links::default() });
        for number in 0..PAGES_KEPT {
            remembered.keep(&url(number), HeaderValue::from_static("x"), &page);
        }
        assert!(remembered.get(&url(0)).is_some());
        remembered.keep(&url(PAGES_KEPT), HeaderValue::from_static("x"), &page);
        assert!(remembered.get(&url(1)).is_none(), "the one that nobody asked for is kept");
        assert!(remembered.get(&url(0)).is_some() && remembered.get(&url(2)).is_some());
    }
}
