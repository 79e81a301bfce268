//! Seeds: the same twice, and fresh ones.

use std::hash::{BuildHasher, RandomState};

use dayfly_sim::{Campaign, Dials};

fn campaign(first_seed: u64, seeds: u64, jobs_each: usize) -> Campaign {
    let jobs = jobs_each * usize::try_from(seeds).unwrap_or(usize::MAX);
    Campaign { first_seed, seeds, jobs, dials: Dials::default() }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let campaign = campaign(1, 100, 4);
    for seed in 1..=100 {
        let [one, other] = [(); 2].map(|()| campaign.run_seed(seed, false).unwrap());
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert!(one.violations.is_empty(), "seed {seed}: {}", one.violations[0]);
    }
}

#[test]
fn fresh_seeds_keep_the_promises() {
    // Random, so that every run sees new ones; the message tells which, to be run again.
    let first = RandomState::new().hash_one("seeds") >> 16;
    let campaign = campaign(first, 20, 20);
    for seed in first..first + 20 {
        let report = campaign.run_seed(seed, false).unwrap();
        assert!(
            report.violations.is_empty(),
            "dayfly-sim --first-seed {seed} --seeds 1 --jobs 20: {}",
            report.violations[0]
        );
    }
}
