//! The runner program: GitHub's list of it, its dates, and its download, which is no business of the credential.

use dayfly_core::ports::ForgeErrorKind;
use dayfly_github::{DownloadError, Downloader, OfferedProgram};
use jiff::SignedDuration;
use serde_json::json;

use crate::fixture::Fixture;

async fn fetched(program: &OfferedProgram) -> Result<Vec<u8>, DownloadError> {
    let mut download = Downloader::new().unwrap().begin(program).await?;
    let mut whole = Vec::new();
    while let Some(part) = download.next().await? {
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

#[tokio::test]
async fn the_newest_is_found_and_fetched() {
    for scope in ["acme", "acme/site", "enterprises/big"] {
        let (fixture, github) = Fixture::with_token(scope).await;
        let refused = github.newest_program("x64").await.unwrap_err();
        assert_eq!(refused.kind, ForgeErrorKind::Refused, "{refused}");
        for version in ["2.329.0", "2.330.0"] {
            fixture.control(&format!("programs?version={version}"), &json!(version)).await;
        }
        let newest = github.newest_program("x64").await.unwrap();
        assert_eq!(newest.version, "2.330.0");
        assert_eq!(newest.sha256.as_ref().unwrap().len(), 64);
        // The simulator refuses a download that bears the API's credential, and sends it on once.
        assert_eq!(fetched(&newest).await.unwrap(), b"\"2.330.0\"");
        let older = newest.at_version("2.329.0", &"0".repeat(64)).unwrap();
        assert_eq!(fetched(&older).await.unwrap(), b"\"2.329.0\"");
        let refused = github.newest_program("sparc").await.unwrap_err();
        assert!(refused.to_string().contains("sparc"), "{refused}");

        assert_eq!(github.program_refused_from("2.330.0").await.unwrap(), None);
        let from = github.program_refused_from("2.329.0").await.unwrap().unwrap();
        let month = SignedDuration::from_hours(30 * 24);
        let now = dayfly_core::ports::Clock::now(fixture.clock.as_ref());
        let left = from.duration_since(now);
        assert!(left > month - SignedDuration::from_hours(1) && left <= month, "{left}");
        assert_eq!(github.program_refused_from("2.0.0").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_download_that_asks_for_its_own_token_gets_it() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.control("programs?version=2.330.0&token=once&sha256=", &json!("archive")).await;
    let mut newest = github.newest_program("arm64").await.unwrap();
    assert_eq!(newest.sha256, None);
    assert!(!format!("{newest:?}").contains("once"), "{newest:?}");
    assert_eq!(fetched(&newest).await.unwrap(), b"\"archive\"");
    newest.token = None;
    let refused = fetched(&newest).await.unwrap_err();
    assert!(matches!(refused, DownloadError::Refused { status: 401, .. }), "{refused}");
}

#[tokio::test]
async fn a_download_that_fails_says_so() {
    let (fixture, github) = Fixture::with_token("acme").await;
    fixture.control("programs?version=2.330.0", &json!("an archive")).await;
    let newest = github.newest_program("x64").await.unwrap();
    fixture.fault("program", 1, json!({ "do": "status", "status": 404 })).await;
    let refused = fetched(&newest).await.unwrap_err();
    assert!(matches!(refused, DownloadError::Refused { status: 404, .. }), "{refused}");
    fixture.fault("program", 2, json!({ "do": "truncate", "bytes": 3 })).await;
    let broken = fetched(&newest).await.unwrap_err();
    assert!(matches!(broken, DownloadError::Broken { .. }), "{broken}");
    fixture.control("programs?version=2.331.0&sha256=abc", &json!("an archive")).await;
    let odd = github.newest_program("x64").await.unwrap_err();
    assert!(odd.to_string().contains("SHA-256"), "{odd}");
}
