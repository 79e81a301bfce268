use http::HeaderMap;

use super::*;

const TOKEN: &str = "my-strange-token";

fn judge(
    address: &str,
    surface: Surface,
    status: u16,
    headers: &[(&'static str, &str)],
    body: &str,
) -> ForgeError {
    let mut response = Response::new(Bytes::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let map: &mut HeaderMap = response.headers_mut();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let address = Address::parse(address).unwrap();
    let operation = Operation::FindGroup("g");
    let now = Timestamp::from_second(1_000).unwrap();
    let judge = Judge {
        operation: &operation,
        surface,
        address: &address,
        now,
        skew: SignedDuration::ZERO,
        token: TOKEN,
    };
    judge.judge(&response)
}

fn class(name: &str) -> String {
    format!(
        r#"{{"$id":"1","message":"words","typeName":"GitHub.Some.{name}, GitHub.Some","errorCode":0}}"#
    )
}

#[test]
fn statuses_and_classes() {
    use ForgeErrorKind as K;
    let org = needed(&ScopeKind::Organization("acme".into()));
    let check = |surface, status, body: &str, kind: K| {
        let error = judge("https://github.com/acme", surface, status, &[], body);
        assert_eq!(error.kind, kind, "{surface:?} {status} {body}");
        assert_eq!(error.operation, "find runner group `g`");
        assert!(error.detail.contains(&status.to_string()), "{error}");
    };
    check(Surface::Rest, 401, r#"{"message":"Bad credentials"}"#, K::Unauthorized);
    check(
        Surface::Rest,
        403,
        r#"{"message":"Resource not accessible"}"#,
        K::NotAllowed(org.clone()),
    );
    check(Surface::Rest, 404, r#"{"message":"Not Found"}"#, K::NotAllowed(org.clone()));
    check(Surface::App, 404, r#"{"message":"Not Found"}"#, K::NotFound);
    check(Surface::Rest, 409, "{}", K::Conflict);
    check(Surface::Rest, 422, "{}", K::Refused);
    check(Surface::Rest, 301, "", K::Refused);
    check(Surface::Rest, 500, "<html>oops</html>", K::Transient);
    check(Surface::Rest, 503, "", K::Transient);
    check(Surface::Registration, 403, "{}", K::NotAllowed(org));
    check(Surface::Service, 401, &class("InvalidTokenException"), K::Unauthorized);
    check(Surface::Service, 400, &class("RunnerScaleSetExistsException"), K::Conflict);
    check(Surface::Service, 404, &class("RunnerScaleSetNotFoundException"), K::ScaleSetGone);
    check(Surface::Session, 404, &class("RunnerScaleSetNotFoundException"), K::ScaleSetGone);
    check(Surface::Session, 409, &class("RunnerScaleSetSessionConflictException"), K::Conflict);
    check(Surface::Session, 400, &class("RunnerScaleSetSessionExpiredException"), K::SessionGone);
    check(Surface::Session, 404, &class("RunnerAdminException"), K::SessionGone);
    check(Surface::Session, 404, "", K::SessionGone);
    check(Surface::Service, 409, &class("TaskAgentExistsException"), K::Conflict);
    check(Surface::Service, 404, &class("TaskAgentNotFoundException"), K::NotFound);
    check(Surface::Service, 400, &class("TaskAgentJobStillRunningException"), K::Busy);
    check(Surface::Service, 500, &class("RunnerScaleSetNotFoundException"), K::Transient);
    check(Surface::Service, 404, &class("SomethingElse"), K::NotFound);
    check(Surface::ScaleSet, 404, &class("SomethingElse"), K::ScaleSetGone);
    check(Surface::ScaleSet, 404, "404 page not found", K::Refused);
    check(Surface::Service, 404, "404 page not found", K::Refused);
    check(Surface::Service, 400, "[1]", K::Refused);
    check(Surface::Queue, 404, "404 page not found", K::SessionGone);
    check(Surface::Queue, 400, r#"{"errorMessage":"x"}"#, K::SessionGone);
    check(Surface::Queue, 401, "", K::Transient);
    check(Surface::Queue, 401, &class("InvalidTokenException"), K::Transient);
    check(Surface::Queue, 502, "\u{0}\u{1}", K::Transient);
    check(Surface::Queue, 429, "", K::RateLimited(Timestamp::from_second(1_060).unwrap()));
}

#[test]
fn details_tell_the_remedy() {
    let tells = |address, status, headers: &[(&'static str, &str)], words: &[&str]| {
        let error = judge(address, Surface::Rest, status, headers, r#"{"message":"No."}"#);
        for word in words {
            assert!(error.detail.contains(word), "{word} in {error}");
        }
    };
    tells("https://github.com/acme", 401, &[], &["\"No.\"", "wrong, expired or revoked"]);
    tells(
        "https://github.com/acme",
        403,
        &[],
        &["Self-hosted runners: read and write", "organization acme"],
    );
    tells(
        "https://github.com/a/b",
        403,
        &[],
        &["Administration: read and write", "repository a/b"],
    );
    tells("https://github.com/enterprises/e", 403, &[], &["manage_runners:enterprise"]);
    tells(
        "https://github.com/acme",
        404,
        &[],
        &["does not exist, or the credential has no access"],
    );
    tells(
        "https://github.com/acme",
        403,
        &[("x-oauth-scopes", "repo, read:org")],
        &["scopes: repo, read:org"],
    );
    tells(
        "https://github.com/acme",
        403,
        &[("x-github-sso", "required; url=x")],
        &["single sign-on"],
    );
    tells("https://github.com/acme", 500, &[("x-github-request-id", "AB:12")], &["request AB:12"]);
    tells(
        "https://github.com/a/b",
        308,
        &[("location", "https://api.github.com/repositories/7")],
        &["repositories/7", "renamed"],
    );
    tells(
        "https://github.com/acme",
        429,
        &[("retry-after", "9")],
        &["before 1970-01-01T00:16:49Z"],
    );
}

#[test]
fn details_tell_no_secret_and_are_short() {
    for body in [
        format!(r#"{{"message":"token {TOKEN} and ghs_abcdef and eyJh.eyJi.sig are bad"}}"#),
        format!("{TOKEN} ghs_abcdef eyJh.eyJi.sig"),
        format!(r#"{{"message":"{}"}}"#, "ghs_abcdef ".repeat(100_000)),
        format!("{} ghs_abcdef", "x".repeat(10_000_000)),
    ] {
        let error = judge("https://github.com/acme", Surface::Rest, 403, &[], &body);
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains(TOKEN) && !shown.contains("abcdef") && !shown.contains("eyJh"),
            "{shown}"
        );
        assert!(error.detail.chars().count() <= 2_000);
    }
}
