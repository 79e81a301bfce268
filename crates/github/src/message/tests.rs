use dayfly_core::{
    model::{JobEntryKind, ScaleSetId},
    ports::ForgeErrorKind,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(bytes: &[u8]) -> Result<Message, ForgeError> {
    parse(&Operation::Poll(ScaleSetId(1)), bytes)
}

fn with_body(body: &str) -> Message {
    let outer = json!({ "messageId": 7, "messageType": JOB_MESSAGE, "body": body });
    parsed(outer.to_string().as_bytes()).unwrap()
}

fn with_entries(entries: &serde_json::Value) -> Message {
    with_body(&entries.to_string())
}

#[test]
fn a_message_as_github_sends_it() {
    let job = |kind: &str| {
        json!({
            "messageType": kind, "runnerRequestId": 4, "repositoryName": "site", "ownerName": "acme",
            "jobId": "b9a9a8a0-2b0c-4a0e-8a55-5d1f0f8f7d0a", "jobDisplayName": "build", "workflowRunId": 99,
            "eventName": "push", "requestLabels": ["linux", "x64"], "queueTime": "2026-01-02T03:04:05.1234567Z",
            "scaleSetAssignTime": "0001-01-01T00:00:00Z", "runnerId": 3, "runnerName": "r-1", "result": "succeeded",
        })
    };
    let body = json!([
        job("JobAvailable"),
        job("JobAssigned"),
        job("JobStarted"),
        job("JobCompleted"),
        job("JobNovel")
    ]);
    let outer = json!({
        "messageId": 100_000_001_i64, "messageType": JOB_MESSAGE, "body": body.to_string(),
        "statistics": { "totalAssignedJobs": 3, "totalIdleRunners": -1, "totalRunningJobs": 5_000_000_000_i64 },
    });
    let bom = [b"\xEF\xBB\xBF", outer.to_string().as_bytes()].concat();
    let message = parsed(&bom).unwrap();
    assert_eq!((message.id, message.unreadable.len()), (MessageId(100_000_001), 0));
    let statistics = message.statistics.unwrap();
    assert_eq!((statistics.assigned, statistics.idle, statistics.running), (3, 0, u32::MAX));
    let kinds: Vec<_> = message.entries.iter().map(|entry| entry.kind.clone()).collect();
    let runner = || "r-1".to_owned();
    let completed = JobEntryKind::Completed { result: "succeeded".to_owned(), runner: runner() };
    let expected = [
        JobEntryKind::Available,
        JobEntryKind::Assigned,
        JobEntryKind::Started { runner: runner() },
        completed,
    ];
    assert_eq!(kinds, expected);
    let entry = &message.entries[1];
    assert_eq!((entry.repository.as_str(), entry.run_id, entry.request_id), ("acme/site", 99, 4));
    assert_eq!((entry.display_name.as_str(), entry.labels.len()), ("build", 2));
    assert_eq!(entry.queued_at.unwrap().to_string(), "2026-01-02T03:04:05.1234567Z");
}

#[test]
fn outer_forms() {
    let check = |text: &str, expected: Result<usize, ForgeErrorKind>| {
        let got = parsed(text.as_bytes())
            .map(|message| message.unreadable.len())
            .map_err(|error| error.kind);
        assert_eq!(got, expected, "{text}");
    };
    check("", Err(ForgeErrorKind::Transient));
    check("\u{feff}", Err(ForgeErrorKind::Transient));
    check("null", Err(ForgeErrorKind::Transient));
    check("{}", Err(ForgeErrorKind::Transient));
    check(
        r#"{"messageId":0,"messageType":"RunnerScaleSetJobMessages","body":""}"#,
        Err(ForgeErrorKind::Transient),
    );
    check(r#"{"messageId":5,"messageType":"RunnerScaleSetJobMessages","body":""}"#, Ok(0));
    check(r#"{"messageId":5,"messageType":"RunnerScaleSetJobMessages","body":null}"#, Ok(0));
    check(r#"{"messageId":5,"messageType":"RunnerScaleSetJobMessages"}"#, Ok(0));
    check(r#"{"messageId":5,"messageType":"Novel","body":"[{}]"}"#, Ok(1));
    check(r#"{"messageId":5}"#, Ok(1));
    check(r#"{"messageId":5,"messageType":"RunnerScaleSetJobMessages","body":"{}"}"#, Ok(1));
    check(r#"{"messageId":5,"messageType":"RunnerScaleSetJobMessages","body":"7"}"#, Ok(1));
}

#[test]
fn entries_are_read_one_by_one() {
    let check = |entry: serde_json::Value, expected: Result<(), &str>| {
        let message =
            with_entries(&json!([entry, { "messageType": "JobAssigned", "jobId": "next" }]));
        assert_eq!(
            message.entries.last().unwrap().id.0.as_ref(),
            "next",
            "the next entry is still read"
        );
        match expected {
            Ok(()) => {
                assert_eq!((message.entries.len(), message.unreadable.len()), (2, 0), "{entry}");
            }
            Err(words) => {
                assert_eq!(message.entries.len(), 1, "{entry}");
                assert!(
                    message.unreadable[0].starts_with("entry 1: ")
                        && message.unreadable[0].contains(words)
                );
            }
        }
    };
    check(json!({ "messageType": "JobAssigned", "jobId": "a" }), Ok(()));
    check(json!({ "messageType": "JobAssigned", "jobId": 17 }), Ok(()));
    check(
        json!({ "messageType": "JobAssigned", "jobId": "a", "workflowRunId": "9", "requestLabels": 3 }),
        Ok(()),
    );
    check(
        json!({ "messageType": "JobAssigned", "jobId": "a", "runnerRequestId": null, "queueTime": "soon" }),
        Ok(()),
    );
    check(json!({ "messageType": "JobAvailable", "jobId": "a", "runnerRequestId": 5 }), Ok(()));
    check(json!({ "messageType": "JobAvailable", "jobId": "a" }), Err("id to acquire"));
    check(json!({ "messageType": "JobAssigned" }), Err("no job id"));
    check(json!({ "messageType": "JobAssigned", "jobId": "" }), Err("no job id"));
    check(json!({ "messageType": "JobAssigned", "jobId": "a".repeat(129) }), Err("too long"));
    check(json!({ "messageType": "JobAssigned", "jobId": "a\nb" }), Err("odd characters"));
    check(json!({ "messageType": 7, "jobId": ["not", "a", "job"] }), Err("no type"));
    check(json!({}), Err("no type"));
    check(json!(7), Err("no entry"));
    check(json!(null), Err("no entry"));
    check(json!([[]]), Err("no"));
}

#[test]
fn entries_before_a_broken_end_are_kept() {
    let message = with_body(r#"[{"messageType":"JobAssigned","jobId":"a"},{"messageType":"JobAss"#);
    assert_eq!((message.entries.len(), message.unreadable.len()), (1, 1));
}

#[test]
fn zero_times_are_none() {
    for (time, some) in [
        ("0001-01-01T00:00:00Z", false),
        ("1970-01-01T00:00:00Z", false),
        ("", false),
        ("2026-01-01T00:00:00Z", true),
        ("2026-01-01T00:00:00.123456789Z", true),
        ("2026-01-01T01:00:00+01:00", true),
    ] {
        let message = with_entries(
            &json!([{ "messageType": "JobAssigned", "jobId": "a", "queueTime": time }]),
        );
        assert_eq!(message.entries[0].queued_at.is_some(), some, "{time}");
    }
}

#[test]
fn everything_is_bounded() {
    let entry = json!({
        "messageType": "JobCompleted", "jobId": "a", "jobDisplayName": "n\u{1b}".repeat(100_000),
        "runnerName": "r".repeat(100_000), "requestLabels": vec!["l".repeat(1_000); 1_000],
        "result": "x".repeat(100_000), "repositoryName": "p".repeat(100_000), "ownerName": "o".repeat(100_000),
    });
    let message = with_entries(&json!([entry]));
    assert!(serde_json::to_string(&message.entries[0]).unwrap().len() < 30_000);
    assert!(!message.entries[0].display_name.contains('\u{1b}'));

    let many = vec![json!({ "messageType": "JobAssigned", "jobId": "a" }); ENTRIES_MAX + 5];
    let message = with_entries(&json!(many));
    assert_eq!((message.entries.len(), message.unreadable.len()), (ENTRIES_MAX, 1));
    assert!(message.unreadable[0].contains("5 entries beyond"));

    let bad = vec![json!({ "messageType": "JobAssigned", "jobId": "a".repeat(5_000) }); 500];
    let message = with_entries(&json!(bad));
    assert_eq!(message.unreadable.len(), COMPLAINTS_MAX);
    assert!(message.unreadable.iter().all(|complaint| complaint.chars().count() <= COMPLAINT_MAX));

    let deep = format!("[{}1{}]", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(with_body(&deep).unreadable.len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parsed(&bytes);
    }

    #[test]
    fn no_body_loses_the_message(body in ".{0,300}") {
        prop_assert_eq!(with_body(&body).id, MessageId(7));
    }

    #[test]
    fn no_entry_loses_its_neighbours(
        fields in prop::collection::btree_map(
            prop::sample::select(vec!["messageType", "jobId", "runnerRequestId", "queueTime", "requestLabels", "result"]),
            prop_oneof![
                Just(json!(null)), any::<i64>().prop_map(|n| json!(n)), any::<f64>().prop_map(|n| json!(n)),
                ".{0,40}".prop_map(|s| json!(s)), Just(json!("JobStarted")), Just(json!(["a", 1])), Just(json!({})),
            ],
            0..6,
        ),
    ) {
        let message = with_entries(&json!([fields, { "messageType": "JobAssigned", "jobId": "next" }]));
        prop_assert_eq!(message.entries.last().unwrap().id.0.as_ref(), "next");
    }
}
