//! Faults that are easy to lose: each strikes in the script that shows it, and what follows is counted by its name.

use std::path::Path;

use dayfly_sim::{Scenario, run};

#[test]
fn faults_strike_where_a_script_shows_them() {
    let check = |name: &str, fault: Option<&str>, excused: Option<&str>, said: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let report = run(&Scenario::parse(&text).unwrap(), true).unwrap();
        assert!(report.violations.is_empty(), "{name}: {}", report.violations[0]);
        for (of, counted) in [(fault, &report.faults), (excused, &report.excused)] {
            assert!(
                of.is_none_or(|of| counted.contains_key(of)),
                "{name}: no {of:?} in {counted:?}"
            );
        }
        assert!(report.log.iter().any(|line| line.contains(said)), "{name}: nobody said {said:?}");
    };
    check(
        "job-runs-beyond-its-limit.txt",
        None,
        Some("the job reached its pool's job_timeout"),
        r#""reason":"job_timeout""#,
    );
    check(
        "app-signs-in-by-a-wrong-clock.txt",
        Some("github-tokens-revoked"),
        None,
        // By a clock that is wrong it is refused first, and then signs by GitHub's.
        "GET /api/v3/orgs/acme/installation -> 401",
    );
    check(
        "foreign-session-takes-the-messages.txt",
        Some("foreign-eats-messages"),
        None,
        "/sessions -> 409",
    );
    check(
        "webhook-deliveries-are-lost.txt",
        Some("github-delivery-unsent"),
        None,
        "5 failed deliveries are asked for again",
    );
    // The daemon died before it could answer.
    check("webhook-through-crashes.txt", Some("crash"), None, "Completed: None");
}
