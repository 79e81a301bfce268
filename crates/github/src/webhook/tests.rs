use aws_lc_rs::hmac;
use dayfly_core::model::{WorkflowJobId, WorkflowJobStatus};
use proptest::prelude::*;
use serde_json::json;

use super::{Delivery, SignatureError, WebhookSecrets};

const SECRET: &[u8] = b"It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// GitHub's own test values ("Validating webhook deliveries").
#[test]
fn webhook_github_vector() {
    let secrets = WebhookSecrets::new([SECRET]);
    let check = |header: &[u8], body: &[u8]| secrets.verify(Some(header), body);
    assert_eq!(check(SIGNATURE.as_bytes(), BODY), Ok(()));
    let (prefix, digits) = SIGNATURE.split_at(7);
    let digest: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
    for bit in 0..256 {
        let mut flipped = digest.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let header =
            flipped.iter().fold(prefix.to_owned(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(
            check(header.as_bytes(), BODY),
            Err(SignatureError::Wrong),
            "bit {bit} of the digest"
        );
    }
    for bit in 0..8 * BODY.len() {
        let mut flipped = BODY.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            check(SIGNATURE.as_bytes(), &flipped),
            Err(SignatureError::Wrong),
            "bit {bit} of the body"
        );
    }
    for bit in 0..8 * SIGNATURE.len() {
        let mut flipped = SIGNATURE.as_bytes().to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&flipped, BODY).is_err(), "bit {bit} of the header");
    }
    assert_eq!(secrets.verify(None, BODY), Err(SignatureError::Missing));
    let sha1 = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET), BODY);
    let sha1 =
        sha1.as_ref().iter().fold("sha1=".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(check(sha1.as_bytes(), BODY), Err(SignatureError::Form));
    for odd in [
        "",
        "sha256=",
        digits,
        &SIGNATURE[..70],
        &format!("{SIGNATURE}00"),
        &SIGNATURE.to_uppercase(),
    ] {
        assert_eq!(check(odd.as_bytes(), BODY), Err(SignatureError::Form), "{odd:?}");
    }
}

#[test]
fn one_of_several_secrets_is_enough_and_an_empty_one_is_none() {
    let check = |secrets: &[&[u8]]| {
        WebhookSecrets::new(secrets.iter().copied()).verify(Some(SIGNATURE.as_bytes()), BODY)
    };
    assert_eq!(check(&[b"new", SECRET]), Ok(()));
    assert_eq!(check(&[SECRET, b"old"]), Ok(()));
    assert_eq!(check(&[b"new", b"old"]), Err(SignatureError::Wrong));
    assert_eq!(check(&[]), Err(SignatureError::Wrong));
    let empty = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), BODY);
    let header =
        empty.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let secrets = WebhookSecrets::new([b"".as_slice()]);
    assert!(secrets.is_empty());
    assert_eq!(secrets.verify(Some(header.as_bytes()), BODY), Err(SignatureError::Wrong));
    assert!(!format!("{:?}", WebhookSecrets::new([SECRET])).contains("Everybody"));
}

const JSON: Option<&str> = Some("application/json");

fn payload(action: &str, job: &serde_json::Value) -> Vec<u8> {
    let payload = json!({ "action": action, "workflow_job": job, "repository": { "full_name": "acme/shop" } });
    payload.to_string().into_bytes()
}

#[test]
fn the_action_and_the_status_tell_how_far_a_job_is() {
    let check = |action: &str, status: &str, expected: Option<WorkflowJobStatus>| {
        let job = json!({
            "id": 7, "run_id": 3, "run_attempt": 2, "name": "build", "status": status, "conclusion": "success",
            "labels": ["self-hosted", "linux"], "runner_name": "other-1", "created_at": "2026-11-21T10:00:00Z",
        });
        let read = Delivery::parse("workflow_job", JSON, &payload(action, &job)).unwrap();
        let Some(expected) = expected else {
            return assert_eq!(read, Delivery::Other, "{action} {status}");
        };
        let Delivery::WorkflowJob(read) = read else { panic!("{action} {status}: {read:?}") };
        assert_eq!(read.status, expected, "{action} {status}");
        assert_eq!(read.id, WorkflowJobId { id: 7, attempt: 2 });
        assert_eq!((read.repository.as_str(), read.run_id), ("acme/shop", 3));
        assert_eq!(read.runner.is_some(), expected >= WorkflowJobStatus::InProgress);
        assert_eq!(read.conclusion.is_some(), expected == WorkflowJobStatus::Completed);
    };
    check("queued", "queued", Some(WorkflowJobStatus::Queued));
    check("queued", "waiting", Some(WorkflowJobStatus::Waiting));
    check("waiting", "waiting", Some(WorkflowJobStatus::Waiting));
    check("in_progress", "in_progress", Some(WorkflowJobStatus::InProgress));
    check("completed", "completed", Some(WorkflowJobStatus::Completed));
    check("requested", "queued", None);
}

#[test]
fn a_form_holds_the_same_payload() {
    let json = payload("queued", &json!({ "id": 7, "run_id": 3, "labels": ["a+b &c", "ä"] }));
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", std::str::from_utf8(&json).unwrap())
        .finish();
    let kind = Some("application/x-www-form-urlencoded; charset=utf-8");
    let read = Delivery::parse("workflow_job", kind, form.as_bytes()).unwrap();
    assert_eq!(read, Delivery::parse("workflow_job", JSON, &json).unwrap());
    let error = Delivery::parse("workflow_job", kind, b"a=b").unwrap_err();
    assert!(error.to_string().contains("no field `payload`"), "{error}");
}

#[test]
fn only_the_first_labels_are_kept() {
    let check = |labels: serde_json::Value, kept: Option<usize>| {
        let job = json!({ "id": 1, "run_id": 1, "labels": labels });
        let read = Delivery::parse("workflow_job", JSON, &payload("queued", &job));
        let read = read.ok().map(|read| match read {
            Delivery::WorkflowJob(job) => job.labels.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(read, kept, "{}", job["labels"]);
    };
    check(json!(vec!["x"; 300]), Some(100));
    check(json!(["x"]), Some(1));
    check(json!(null), Some(0));
    check(json!([7]), None);
    check(json!("linux"), None);
}

#[test]
fn other_events_are_none_of_ours_and_a_job_without_an_id_is_an_error() {
    assert_eq!(Delivery::parse("ping", None, b"not even json"), Ok(Delivery::Ping));
    assert_eq!(Delivery::parse("push", JSON, b"{}"), Ok(Delivery::Other));
    let error = Delivery::parse("workflow_job", JSON, &payload("queued", &json!({ "run_id": 3 })))
        .unwrap_err();
    assert!(error.to_string().contains("missing field `id`"), "{error}");
    let told = json!({ "id": "a private word", "run_id": 3 });
    let error = Delivery::parse("workflow_job", JSON, &payload("queued", &told)).unwrap_err();
    assert!(
        error.detail.contains("line 1, column") && !error.detail.contains("private"),
        "{error}"
    );
}

proptest! {
    // Long texts take their time; `tests/webhook.rs` tries far more.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_payload_panics_and_what_is_kept_is_bounded(
        event in "(workflow_job|ping|[a-z_]{0,12})",
        name in ".{0,400}",
        labels in proptest::collection::vec(".{0,300}", 0..130),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Delivery::parse(&event, JSON, &bytes);
        let job = json!({ "id": 1, "run_id": 1, "name": name, "labels": labels });
        if let Ok(Delivery::WorkflowJob(job)) = Delivery::parse("workflow_job", JSON, &payload("queued", &job)) {
            prop_assert!(job.name.chars().count() <= 200 && job.labels.len() <= 100);
        }
    }
}
