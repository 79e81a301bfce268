//! Deliveries: GitHub's own examples are read, and spoilt ones are refused. A seeded mutator spoils them: none panics, none is
//! believed but under the right signature, and what is kept of any is bounded.
//!
//! `DAYFLY_FUZZ_INPUTS` says how many are spoilt (100,000 by default), `DAYFLY_FUZZ_SEED` where to begin. A process of its own, so
//! that its memory can be measured.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use dayfly_core::model::WorkflowJobStatus;
use dayfly_github::{Delivery, WebhookSecrets};
use serde_json::json;

const INPUTS: u64 = 100_000;

/// GitHub's own bound of a payload, and what reading one may take beside it.
const GROWN_KIB_MAX: u64 = 64 * 1024;

/// The most that is kept of a job, as it is stored: 100 labels of 256 characters, which are 4 bytes or 6 of an escape each.
const KEPT_BYTES_MAX: usize = 200 * 1024;

/// SplitMix64: the same seed gives the same inputs everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}

/// Pieces that JSON readers stumble over.
const ODD: [&[u8]; 16] = [
    b"null",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"[[[[[[[[",
    b"]}",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"\xff\xfe",
    b"\xc3",
    b"\0",
    b"{\"a\":",
    b"true",
    b"0.5",
    b"\\",
];

/// Spoils bytes once.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let length = random.below(40);
    let end = (at + length).min(bytes.len());
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = ODD[random.below(ODD.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        3 => {
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        4 => bytes.truncate(at),
        _ => {
            let byte = u8::try_from(random.next() & 0xff).unwrap();
            bytes.splice(at..end, [byte]);
        }
    }
}

fn examples() -> Vec<Vec<u8>> {
    let job = |status: &str, more: serde_json::Value| {
        let mut job = json!({
            "id": 27_000_001_i64, "run_id": 9_000_001_i64, "run_attempt": 1, "name": "build (ubuntu)",
            "status": status, "conclusion": null, "labels": ["self-hosted", "linux"], "runner_name": "",
            "created_at": "2026-11-21T10:00:00Z", "steps": [], "head_branch": "main",
        });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job
    };
    let delivery = |action: &str, job: serde_json::Value| {
        let whole = json!({
            "action": action, "workflow_job": job, "sender": { "login": "acme", "id": 1 },
            "repository": { "id": 1, "full_name": "acme/shop", "private": true },
        });
        whole.to_string().into_bytes()
    };
    let steps = json!({ "conclusion": "success", "runner_name": "linux-1", "steps": [
        { "name": "Set up job", "status": "completed", "conclusion": "success", "number": 1 },
    ] });
    vec![
        delivery("queued", job("queued", json!({}))),
        delivery("waiting", job("waiting", json!({ "labels": vec!["x"; 120] }))),
        delivery("in_progress", job("in_progress", json!({ "runner_name": "linux-1" }))),
        delivery("completed", job("completed", steps)),
    ]
}

/// The most memory that this process has had, in KiB; the system tells it on Linux.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

#[test]
fn spoilt_deliveries_are_refused_without_a_panic() {
    let secret = b"a secret of this test";
    let secrets = WebhookSecrets::new([b"another one".as_slice(), secret]);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signed = |body: &[u8]| -> Vec<u8> {
        let digest = aws_lc_rs::hmac::sign(&key, body);
        let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        format!("sha256={}", digits.collect::<String>()).into_bytes()
    };
    let examples: Vec<_> = examples().into_iter().map(|body| (signed(&body), body)).collect();
    let mut random = Random(from_environment("DAYFLY_FUZZ_SEED", 1));
    let (mut believed, mut read) = (0_u64, 0_u64);
    let before = peak_kib();
    for input in 0..from_environment("DAYFLY_FUZZ_INPUTS", INPUTS) {
        let (of, original) = &examples[random.below(examples.len())];
        let (mut header, mut body) = (of.clone(), original.clone());
        let (in_header, in_body) = (random.below(3), random.below(4));
        (0..in_header).for_each(|_| spoil(&mut header, &mut random));
        (0..in_body).for_each(|_| spoil(&mut body, &mut random));
        let verdict = secrets.verify(Some(&header), &body);
        // What was not touched is believed, and nothing else: no spoilt header can be the signature of a spoilt body.
        assert_eq!(
            verdict.is_ok(),
            header == *of && body == *original,
            "input {input}: {verdict:?}"
        );
        believed += u64::from(verdict.is_ok());
        // The reader itself stands behind the signature; it must hold by itself all the same.
        let kind = (random.below(8) == 0).then_some("application/x-www-form-urlencoded");
        if let Ok(Delivery::WorkflowJob(job)) = Delivery::parse("workflow_job", kind, &body) {
            read += 1;
            let kept = serde_json::to_vec(&*job).unwrap().len();
            assert!(kept <= KEPT_BYTES_MAX, "input {input}: {kept} bytes are kept");
        }
    }
    assert!(
        believed > 0 && read > believed,
        "{believed} were believed, {read} read: the mutator is blunt"
    );
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(after - before <= GROWN_KIB_MAX, "memory grew from {before} to {after} KiB");
    }
}

#[test]
#[ignore = "needs GitHub's webhook examples: crates/github-sim/tests/fetch-schemas.sh DIR, then DAYFLY_GITHUB_SCHEMAS=DIR"]
fn every_example_of_githubs_is_read() {
    let folder = std::env::var("DAYFLY_GITHUB_SCHEMAS")
        .expect("DAYFLY_GITHUB_SCHEMAS names the directory that fetch-schemas.sh filled");
    let path = std::path::Path::new(&folder).join("webhooks-examples.json");
    let events: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let of_jobs =
        events.as_array().unwrap().iter().find(|event| event["name"] == "workflow_job").unwrap();
    let examples = of_jobs["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 8);
    for example in examples {
        let body = example.to_string();
        let read = Delivery::parse("workflow_job", Some("application/json"), body.as_bytes());
        let Ok(Delivery::WorkflowJob(job)) = read else { panic!("{read:?}: {body}") };
        let told = &example["workflow_job"];
        assert_eq!(
            (Some(job.id.id), Some(job.run_id)),
            (told["id"].as_i64(), told["run_id"].as_i64())
        );
        assert_eq!(Some(job.repository.as_str()), example["repository"]["full_name"].as_str());
        assert_eq!(serde_json::json!(job.labels), told["labels"]);
        let happened = match example["action"].as_str().unwrap() {
            "waiting" => WorkflowJobStatus::Waiting,
            "queued" if told["status"] == "waiting" => WorkflowJobStatus::Waiting,
            "queued" => WorkflowJobStatus::Queued,
            "in_progress" => WorkflowJobStatus::InProgress,
            "completed" => WorkflowJobStatus::Completed,
            other => panic!("{other}"),
        };
        assert_eq!(job.status, happened, "{body}");
    }
    // Other events are none of ours, whatever they hold.
    for event in events.as_array().unwrap().iter().filter(|event| event["name"] != "workflow_job") {
        let name = event["name"].as_str().unwrap();
        for example in event["examples"].as_array().unwrap() {
            let read = Delivery::parse(name, None, example.to_string().as_bytes()).unwrap();
            assert!(matches!(read, Delivery::Other | Delivery::Ping), "{name}");
        }
    }
}
