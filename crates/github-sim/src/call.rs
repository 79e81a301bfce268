//! One request, taken apart.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

/// How a client addresses this GitHub: what the links in its answers begin with.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// `scheme://host[:port]` as the client wrote it.
    pub base: String,
    /// The same plus the REST prefix that the client used.
    pub api: String,
}

/// A request's parts, decoded once.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub now: Timestamp,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
    /// The decoded, non-empty parts of the path, without the REST prefix.
    pub segments: Vec<Cow<'a, str>>,
    pub query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub origin: Origin,
    /// The path without query, for the journal.
    pub path: &'a str,
}

impl<'a> Call<'a> {
    pub fn new(now: Timestamp, request: &'a Request<Bytes>) -> Self {
        let uri = request.uri();
        let host = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()))
            .unwrap_or("127.0.0.1");
        let base = [uri.scheme_str().unwrap_or("http"), "://", host].concat();
        let mut segments: Vec<Cow<'_, str>> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| match part.contains('%') {
                true => percent_encoding::percent_decode_str(part).decode_utf8_lossy(),
                false => Cow::Borrowed(part),
            })
            .collect();
        let mut api = base.clone();
        if segments.len() >= 2 && segments[0] == "api" && segments[1] == "v3" {
            segments.drain(..2);
            api.push_str("/api/v3");
        }
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
        Self {
            now,
            method: request.method(),
            headers: request.headers(),
            body: request.body(),
            segments,
            query,
            origin: Origin { base, api },
            path: uri.path(),
        }
    }

    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref())
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        self.query(key).and_then(|value| value.parse().ok())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The credentials after the scheme word `scheme`, which is compared without case.
    pub fn authorization(&self, scheme: &str) -> Option<&str> {
        let (word, rest) = self.header("authorization")?.split_once(' ')?;
        word.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    }

    /// The body as JSON; the error says what is wrong with it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(self.body).map_err(|error| format!("Problems parsing JSON: {error}"))
    }

    /// `page` and `per_page` as the public REST bounds them.
    pub fn page(&self) -> Page {
        let per = self.number("per_page").unwrap_or(30).clamp(1, 100);
        let page = self.number("page").unwrap_or(1).clamp(1, 1_000_000);
        Page { number: page.unsigned_abs(), per: usize::try_from(per).unwrap_or(30) }
    }
}

/// A window on a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub number: u64,
    pub per: usize,
}

impl Page {
    pub fn skip(self) -> usize {
        usize::try_from(self.number - 1).unwrap_or(usize::MAX).saturating_mul(self.per)
    }

    /// The `Link` header of this page of `total` items; `None` when all fit on one page.
    pub fn link(self, call: &Call<'_>, total: usize) -> Option<String> {
        let last = total.div_ceil(self.per).max(1) as u64;
        let mut links = Vec::new();
        let mut link = |number: u64, rel: &str| {
            links.push(format!("<{}>; rel=\"{rel}\"", self.url(call, number)));
        };
        if self.number > 1 {
            link(self.number - 1, "prev");
        }
        if self.number < last {
            link(self.number + 1, "next");
            link(last, "last");
        }
        if self.number > 1 {
            link(1, "first");
        }
        (!links.is_empty()).then(|| links.join(", "))
    }

    fn url(self, call: &Call<'_>, number: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in call.query.iter().filter(|(key, _)| key != "page" && key != "per_page")
        {
            query.append_pair(key, value);
        }
        query
            .append_pair("per_page", &self.per.to_string())
            .append_pair("page", &number.to_string());
        format!("{}{}?{}", call.origin.base, call.path, query.finish())
    }
}
