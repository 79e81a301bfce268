//! The bugs that can be planted: each has a name of its own, the documentation tells of it, and none is there unasked.

use std::{collections::BTreeSet, path::Path};

use dayfly_core::planted::{Bug, planted};

#[test]
fn every_bug_has_a_name_of_its_own_and_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulation.md");
    let page = std::fs::read_to_string(page).unwrap();
    let told: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name))
        .collect();
    let mut names = BTreeSet::new();
    for bug in Bug::ALL {
        let name = bug.name();
        assert!(names.insert(name), "two bugs are called {name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        assert!(told.contains(name), "docs/simulation.md does not tell of {name}");
    }
    assert!(names.len() >= 30, "{} bugs", names.len());
}

#[test]
fn no_bug_is_there_unasked() {
    for bug in Bug::ALL {
        assert!(!planted(*bug), "{}", bug.name());
    }
}
