//! Credentials: what works, what does not, and what is said then.

use std::sync::{Arc, atomic::Ordering};

use dayfly_core::ports::{Forge, ForgeErrorKind};
use dayfly_github::{Address, Credential, GitHub, InvalidCredential};
use serde_json::json;

use crate::fixture::{DEFAULT, Fixture, opened};

#[tokio::test]
async fn an_installation_token_is_kept_and_renewed_once_it_is_refused() {
    for with_installation in [false, true] {
        let fixture = Fixture::new().await;
        fixture.control("scopes", &json!({ "path": "acme" })).await;
        let app = fixture.app("acme", with_installation).await;
        let github = fixture.github("acme", &app);
        opened(&github).await;
        github.list_runners().await.unwrap();
        assert_eq!(fixture.calls("app.access_token").await, 1);
        assert_eq!(fixture.calls("scope.installation").await, usize::from(!with_installation));
        fixture.control("tokens/revoke", &json!({ "kind": "installation" })).await;
        github.list_runners().await.unwrap();
        assert_eq!(fixture.calls("app.access_token").await, 2);
    }
}

#[tokio::test]
async fn an_installation_token_is_not_used_in_its_last_minutes() {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": "acme" })).await;
    fixture.control("options", &json!({ "installation_token_ttl_ms": 299_000 })).await;
    let github = fixture.github("acme", &fixture.app("acme", true).await);
    github.list_runners().await.unwrap();
    github.list_runners().await.unwrap();
    assert_eq!(fixture.calls("app.access_token").await, 2);
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_githubs() {
    for wrong_s in [-3_600, 3_600, 86_400] {
        let fixture = Fixture::new().await;
        fixture.control("scopes", &json!({ "path": "acme" })).await;
        let app = fixture.app("acme", false).await;
        fixture.clock.wrong_s.store(wrong_s, Ordering::Relaxed);
        let github = fixture.github("acme", &app);
        opened(&github).await;
        github.list_runners().await.unwrap();
        assert_eq!(
            fixture.calls("app.access_token").await,
            1,
            "{wrong_s}: tokens are judged by GitHub's clock too"
        );
        assert_eq!(fixture.calls("registration").await, 1, "{wrong_s}");
    }
}

#[tokio::test]
async fn refusals_say_what_is_missing() {
    let fixture = Fixture::new().await;
    for scope in ["acme", "acme/site", "enterprises/big"] {
        fixture.control("scopes", &json!({ "path": scope })).await;
    }
    let check = async |scope: &str, credential: &Credential, words: &[&str]| {
        let github = fixture.github(scope, credential);
        let findings = github.check("Default").await;
        let (last, before) = findings.split_last().unwrap();
        assert!(before.iter().all(|finding| finding.result.is_ok()), "{findings:?}");
        let said = last.result.as_ref().unwrap_err();
        for word in words {
            assert!(said.contains(word), "{word} in {said}");
        }
        let refusal = github.find_scale_set(DEFAULT, "x").await.unwrap_err();
        assert!(
            !matches!(refusal.kind, ForgeErrorKind::Transient | ForgeErrorKind::NotFound),
            "{scope}: {refusal:?}"
        );
    };
    let wrong = Credential::Token("ghp_wrong".to_owned().into());
    check("acme", &wrong, &["401", "Bad credentials", "wrong, expired or revoked"]).await;
    let weak = fixture.token(&json!({ "type": "pat", "permissions": ["read:org"] })).await;
    check(
        "acme",
        &weak,
        &["Self-hosted runners: read and write", "admin:org", "organization acme"],
    )
    .await;
    check("acme/site", &weak, &["Administration: read and write", "repository acme/site"]).await;
    check("enterprises/big", &weak, &["manage_runners:enterprise", "enterprise big"]).await;
    let strong = fixture.token(&json!({ "type": "pat" })).await;
    check(
        "nobody",
        &strong,
        &["404", "organization nobody does not exist, or the credential has no access"],
    )
    .await;
}

#[tokio::test]
async fn apps_say_what_is_missing() {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": "acme" })).await;
    fixture.control("scopes", &json!({ "path": "other" })).await;
    let said = async |scope: &str, app: &Credential| {
        let refusal = fixture.github(scope, app).find_scale_set(DEFAULT, "x").await.unwrap_err();
        (refusal.kind.clone(), refusal.to_string())
    };
    let (_, words) = said("other", &fixture.app("acme", false).await).await;
    assert!(words.contains("not installed on organization other"), "{words}");
    let Credential::App { private_key, .. } = fixture.app("acme", false).await else { panic!() };
    let unknown =
        Credential::App { client_id: "Iv1.unknown".to_owned(), private_key, installation_id: None };
    let (kind, words) = said("acme", &unknown).await;
    assert_eq!(kind, ForgeErrorKind::Unauthorized, "{words}");
}

#[tokio::test]
async fn impossible_credentials_are_refused_before_the_first_request() {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": "acme" })).await;
    let refused = |scope: &str, credential: &Credential| {
        let address = Address::parse(&format!("https://github.com/{scope}")).unwrap();
        GitHub::new(address, credential, fixture.transport.clone(), fixture.clock.clone(), "host")
            .err()
    };
    let app = fixture.app("acme", false).await;
    assert_eq!(refused("acme", &app), None);
    let enterprise = refused("enterprises/big", &app).unwrap();
    assert!(enterprise.to_string().contains("manage_runners:enterprise"), "{enterprise}");
    for token in ["", "two words", "line\n"] {
        assert_eq!(
            refused("acme", &Credential::Token(token.to_owned().into())),
            Some(InvalidCredential::Token)
        );
    }
    for key in
        ["", "no key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"]
    {
        let private_key = key.to_owned().into();
        let app =
            Credential::App { client_id: "Iv1.x".to_owned(), private_key, installation_id: None };
        let refusal = refused("acme", &app).unwrap();
        assert!(matches!(refusal, InvalidCredential::PrivateKey { .. }), "{refusal}");
        assert!(!refusal.to_string().contains("AAAA"));
    }
}

#[tokio::test]
async fn nothing_prints_a_secret() {
    let fixture = Fixture::new().await;
    fixture.control("scopes", &json!({ "path": "acme" })).await;
    let app = fixture.app("acme", false).await;
    let token = Credential::Token("ghp_very_secret_token".to_owned().into());
    let github = Arc::new(fixture.github("acme", &token));
    let shown = format!("{app:?} {token:?} {github:?} {:?}", fixture.transport);
    assert!(!shown.contains("very_secret") && !shown.contains("PRIVATE KEY"), "{shown}");
    let refusal = github.list_runners().await.unwrap_err();
    assert!(!format!("{refusal:?} {refusal}").contains("very_secret"));
    let github = fixture.github("acme", &app);
    let (set, session) = opened(&github).await;
    let minted = github.mint(set, &crate::fixture::runner(1)).await.unwrap();
    assert!(!format!("{minted:?} {session:?} {github:?}").contains(minted.jit.expose()));
}
