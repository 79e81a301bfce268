//! Where a redirect leads, and whether it may be followed.

use bytes::Bytes;
use http::Response;
use url::Url;

use crate::limits::header;

/// How many redirects of one call are followed.
pub(crate) const FOLLOWED_MAX: usize = 3;

/// The target of a 301, 307 or 308 on the same host, where a token may go without being shown to another.
pub(crate) fn target(from: &Url, response: &Response<Bytes>) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 307 | 308) {
        return None;
    }
    let to = from.join(header(response.headers(), "location")?).ok()?;
    (to.origin() == from.origin()).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_within_the_host() {
        let check = |status: u16, location: &str, expected: Option<&str>| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert("location", location.parse().unwrap());
            let from = Url::parse("https://api.github.com/repos/a/b").unwrap();
            assert_eq!(
                target(&from, &response).map(String::from).as_deref(),
                expected,
                "{location}"
            );
        };
        check(
            301,
            "https://api.github.com/repositories/7",
            Some("https://api.github.com/repositories/7"),
        );
        check(308, "/repositories/7", Some("https://api.github.com/repositories/7"));
        check(302, "/repositories/7", None);
        check(307, "https://evil.example/repositories/7", None);
        check(307, "http://api.github.com/repositories/7", None);
        check(307, "https://api.github.com:444/repositories/7", None);
        check(307, "https://api.github.com@evil.example/", None);
    }
}
