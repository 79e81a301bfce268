//! A scope's address as the user writes it, and what follows from it: the scope's kind and where GitHub's REST API is.

use dayfly_core::model::ScopeKind;
use url::Url;

/// An address that names no scope. Says the rule, so that the user can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is not the address of a scope: {rule}")]
pub struct InvalidAddress {
    /// The address as given, cut to 200 characters; hidden where it may hold a secret.
    pub address: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// The address of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    config_url: String,
    kind: ScopeKind,
    rest: Url,
}

/// How much of a wrong address is quoted.
const QUOTED_MAX: usize = 200;

/// GitHub's own limits are 39 characters for an owner and 100 for a repository.
const NAME_MAX: usize = 100;

impl Address {
    /// Reads an address such as `https://github.com/acme`, `https://github.com/acme/site`,
    /// `https://github.com/enterprises/acme`, the same below `https://TENANT.ghe.com`, or on a GitHub Enterprise Server.
    ///
    /// # Errors
    /// The rule that the address breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let trimmed = text.trim().trim_matches('/');
        let refuse = |rule| Err(InvalidAddress { address: quoted(trimmed), rule });
        let Ok(url) = Url::parse(trimmed) else {
            return refuse(
                "write https://HOST/OWNER, https://HOST/OWNER/REPO or https://HOST/enterprises/NAME",
            );
        };
        if !matches!(url.scheme(), "https" | "http") {
            return refuse("it must begin with https:// (or http:// on a server of your own)");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "it must not hold a user name or a password: the credential has a place of its own",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("it must have no `?` and no `#`");
        }
        let Some(host) = url.host_str() else {
            return refuse("it names no host");
        };
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let hosted = hosted_api(&authority);
        if hosted.is_some()
            && url.scheme() == "http"
            && !authority.eq_ignore_ascii_case("github.localhost")
        {
            return refuse("GitHub's own hosts are reached by https:// only");
        }
        let rest = match hosted {
            Some(api) => format!("{}://{api}/", url.scheme()),
            None => format!("{}://{authority}/api/v3", url.scheme()),
        };
        let Ok(rest) = Url::parse(&rest) else {
            return refuse("its host is not valid");
        };
        let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
        if !parts.iter().all(|part| is_name(part)) {
            return refuse(
                "a name in it has characters that GitHub's names do not have, or is missing",
            );
        }
        let kind = match parts.as_slice() {
            [owner] => ScopeKind::Organization((*owner).to_owned()),
            [word, name] if word.eq_ignore_ascii_case("enterprises") => {
                ScopeKind::Enterprise((*name).to_owned())
            }
            [owner, name] => {
                ScopeKind::Repository { owner: (*owner).to_owned(), name: (*name).to_owned() }
            }
            _ => {
                return refuse(
                    "after the host come OWNER, OWNER/REPO or enterprises/NAME and nothing more",
                );
            }
        };
        Ok(Self { config_url: trimmed.to_owned(), kind, rest })
    }

    /// What the address names.
    #[must_use]
    pub fn kind(&self) -> &ScopeKind {
        &self.kind
    }

    /// The address as the user wrote it, without slashes at its ends: what GitHub is told at registration.
    #[must_use]
    pub fn config_url(&self) -> &str {
        &self.config_url
    }

    /// Where the REST API begins (protocol.md, 1.1).
    #[must_use]
    pub fn rest_base(&self) -> &Url {
        &self.rest
    }

    /// The address of a REST route below the base.
    pub(crate) fn rest_url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        below(&self.rest, segments)
    }

    /// The address of a REST route below this scope.
    pub(crate) fn scope_url(&self, segments: &[&str]) -> Url {
        let scope: Vec<&str> = match &self.kind {
            ScopeKind::Organization(owner) => vec!["orgs", owner],
            ScopeKind::Repository { owner, name } => vec!["repos", owner, name],
            ScopeKind::Enterprise(name) => vec!["enterprises", name],
        };
        self.rest_url(scope.into_iter().chain(segments.iter().copied()))
    }

    /// The scope in words: "organization acme".
    pub(crate) fn words(&self) -> String {
        match &self.kind {
            ScopeKind::Organization(owner) => format!("organization {owner}"),
            ScopeKind::Repository { owner, name } => format!("repository {owner}/{name}"),
            ScopeKind::Enterprise(name) => format!("enterprise {name}"),
        }
    }

    /// Whether a token may be sent to `url`: encrypted, unless the scope's own address is not.
    pub(crate) fn trusts(&self, url: &Url) -> bool {
        url.has_host()
            && (url.scheme() == "https" || (url.scheme() == "http" && self.rest.scheme() == "http"))
    }
}

/// `base` with more path segments, each percent-encoded; what path and query it has is kept (protocol.md, 1.4).
pub(crate) fn below<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    // Only addresses that can't be a base (mailto:) have no path segments, and none of those gets here.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// The API host of a host that GitHub runs; `None` for a GitHub Enterprise Server.
fn hosted_api(authority: &str) -> Option<String> {
    let authority = authority.to_ascii_lowercase();
    match authority.as_str() {
        "github.com" | "www.github.com" => Some("api.github.com".to_owned()),
        "github.localhost" => Some("api.github.localhost".to_owned()),
        tenant if tenant.ends_with(".ghe.com") => Some(format!("api.{tenant}")),
        _ => None,
    }
}

fn is_name(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !part.is_empty()
        && part.len() <= NAME_MAX
        && part.bytes().all(plain)
        && part.bytes().any(|byte| byte != b'.')
}

fn quoted(text: &str) -> String {
    if text.contains('@') {
        return "[hidden]".to_owned();
    }
    text.chars().filter(|char| !char.is_control()).take(QUOTED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        let address = Address::parse(text);
        match expected {
            Ok((rest, words)) => {
                let address = address.unwrap();
                assert_eq!(address.rest_url(["x"]).as_str(), format!("{rest}/x"), "{text}");
                assert_eq!(address.words(), words, "{text}");
            }
            Err(rule) => assert!(address.unwrap_err().rule.contains(rule), "{text}"),
        }
    }

    #[test]
    fn addresses() {
        check("https://github.com/acme", Ok(("https://api.github.com", "organization acme")));
        check("/https://github.com/acme//", Ok(("https://api.github.com", "organization acme")));
        check("https://WWW.GitHub.com/acme/", Ok(("https://api.github.com", "organization acme")));
        check(
            "https://github.com/acme/site.io",
            Ok(("https://api.github.com", "repository acme/site.io")),
        );
        check(
            "https://github.com/Enterprises/big",
            Ok(("https://api.github.com", "enterprise big")),
        );
        check(
            "https://github.com/enterprises",
            Ok(("https://api.github.com", "organization enterprises")),
        );
        check("https://acme.ghe.com/acme", Ok(("https://api.acme.ghe.com", "organization acme")));
        check(
            "https://acme.ghe.com:8443/acme",
            Ok(("https://acme.ghe.com:8443/api/v3", "organization acme")),
        );
        check(
            "https://ghe.corp.example/a/b",
            Ok(("https://ghe.corp.example/api/v3", "repository a/b")),
        );
        check(
            "http://127.0.0.1:4000/my-org",
            Ok(("http://127.0.0.1:4000/api/v3", "organization my-org")),
        );
        check("http://[::1]:4000/my-org", Ok(("http://[::1]:4000/api/v3", "organization my-org")));
        check(
            "http://github.localhost/acme",
            Ok(("http://api.github.localhost", "organization acme")),
        );
        check("http://github.com/acme", Err("https:// only"));
        check("acme", Err("write https://"));
        check("", Err("write https://"));
        check("ftp://github.com/acme", Err("begin with https"));
        check("https://github.com", Err("missing"));
        check("https://github.com/a/b/c", Err("nothing more"));
        check("https://github.com/a//b", Err("missing"));
        check("https://github.com/..%2f/b", Err("characters"));
        check("https://github.com/a b", Err("characters"));
        check("https://github.com/a?b=c", Err("no `?`"));
        check("https://me:ghp_secret@github.com/a", Err("user name"));
        check(&format!("https://github.com/{}", "a".repeat(101)), Err("characters"));
    }

    #[test]
    fn a_wrong_address_never_shows_a_password() {
        let error = Address::parse("https://me:hunter2@github.com/a").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn tokens_go_out_encrypted_only() {
        let hosted = Address::parse("https://github.com/acme").unwrap();
        let local = Address::parse("http://127.0.0.1:1/acme").unwrap();
        let plain = Url::parse("http://broker.example/x").unwrap();
        let tls = Url::parse("https://broker.example/x").unwrap();
        assert!(hosted.trusts(&tls) && local.trusts(&tls) && local.trusts(&plain));
        assert!(!hosted.trusts(&plain));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,60}", path in "[a-zA-Z0-9./%?#@:-]{0,40}") {
            let _ = Address::parse(&text);
            if let Ok(address) = Address::parse(&format!("https://github.com/{path}")) {
                prop_assert!(address.scope_url(&["x"]).path().ends_with("/x"));
            }
        }
    }
}
