//! GitHub's rate limits: told as such, until when, and not tried against.

use dayfly_core::ports::{Clock, Forge, ForgeErrorKind};
use serde_json::json;

use crate::fixture::{DEFAULT, Fixture, runner};

#[tokio::test]
async fn the_newest_numbers_are_told() {
    let (_fixture, github) = Fixture::with_token("acme").await;
    assert_eq!(github.rate_limit(), None);
    github.list_runners().await.unwrap();
    let first = github.rate_limit().unwrap();
    // What did not change since costs nothing, and is known all the same.
    assert_eq!(github.list_runners().await.unwrap(), []);
    assert_eq!(github.rate_limit().unwrap().remaining, first.remaining);
    github.find_runner(&runner(1)).await.unwrap();
    let second = github.rate_limit().unwrap();
    assert_eq!((first.limit, first.remaining - 1), (5_000, second.remaining));
}

#[tokio::test]
async fn a_used_up_credential_leaves_github_alone() {
    for (action, least_s, most_s) in [
        (json!({ "do": "primary_limit", "reset_s": 600 }), 595, 605),
        (json!({ "do": "secondary_limit", "retry_after": 30 }), 25, 35),
        (json!({ "do": "secondary_limit" }), 55, 65),
    ] {
        let (fixture, github) = Fixture::with_token("acme").await;
        assert_eq!(github.find_scale_set(DEFAULT, "none").await.unwrap(), None);
        fixture.fault("runners.list", 1, action.clone()).await;
        let refusal = github.list_runners().await.unwrap_err();
        let ForgeErrorKind::RateLimited(until) = refusal.kind else { panic!("{refusal:?}") };
        let seconds = (until - fixture.clock.now()).total(jiff::Unit::Second).unwrap();
        assert!((f64::from(least_s)..f64::from(most_s)).contains(&seconds), "{action}: {seconds}");
        let (sent, _) = github.requests();
        let again = github.list_runners().await.unwrap_err();
        assert_eq!(again.kind, ForgeErrorKind::RateLimited(until));
        assert_eq!(github.requests().0, sent, "nothing was sent");
        // The Actions service has no part in that limit.
        assert_eq!(github.find_scale_set(DEFAULT, "none").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_limit_on_registrations_holds_up_registrations_only() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.fault("registration", 1, json!({ "do": "secondary_limit", "retry_after": 30 })).await;
    let refusal = github.find_scale_set(DEFAULT, "none").await.unwrap_err();
    assert!(matches!(refusal.kind, ForgeErrorKind::RateLimited(_)), "{refusal}");
    assert!(
        refusal.operation.contains("find scale set `none`")
            && refusal.detail.contains("connect to the Actions")
    );
    assert_eq!(fixture.calls("registration").await, 1, "a limit is not tried against");
    github.list_runners().await.unwrap();
}

#[tokio::test]
async fn a_limit_ends() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.fault("runners.list", 1, json!({ "do": "secondary_limit", "retry_after": 1 })).await;
    assert!(github.list_runners().await.is_err());
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    github.list_runners().await.unwrap();
}
