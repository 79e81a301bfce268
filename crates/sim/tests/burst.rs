//! More jobs at once than GitHub's limits let be registered in hours: none of what is made for them goes again unused.
//! `cargo test --release -p dayfly-sim --test burst` runs the whole of it, an unoptimised build a tenth.

use std::{collections::BTreeSet, path::Path};

use dayfly_sim::{Scenario, run};

/// Jobs of the script.
const JOBS: usize = 10_000;

/// What an unoptimised build has time for: GitHub takes a quarter of an hour for so many writes.
const FEWER: usize = 1_000;

#[test]
fn no_instance_is_destroyed_for_want_of_a_registration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("large/webhook-burst.txt");
    let whole = std::fs::read_to_string(path).unwrap();
    let jobs = if cfg!(debug_assertions) { FEWER } else { JOBS };
    let text = whole.replace(&format!("jobs p0 {JOBS} "), &format!("jobs p0 {jobs} "));
    assert_eq!(text == whole, jobs == JOBS);
    let report = run(&Scenario::parse(&text).unwrap(), true).unwrap();
    assert!(report.violations.is_empty(), "{}", report.violations[0]);

    let names = |does: &str| {
        let lines = report.log.iter().filter_map(|line| line.split_once(does));
        lines.filter_map(|(_, rest)| rest.split(' ').next()).collect::<BTreeSet<_>>()
    };
    let (registered, destroyed) = (names("engine e0 hands "), names("engine e0 destroys "));
    assert_eq!(registered.len(), jobs);
    assert_eq!(destroyed, registered, "each had a registration before it went");
    // The limits were met: else this would show nothing.
    assert!(report.log.iter().any(|line| line.contains("generate-jitconfig -> 403")));
}
