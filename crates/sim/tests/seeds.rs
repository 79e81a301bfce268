//! Seeds: the same twice, and a slice of others.

use dayfly_sim::{Campaign, Dials, Scenario, run};

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

/// Fresh seeds with every run: a failure names the one to repeat. `DAYFLY_SIM_FIRST_SEED` runs the slice from that seed.
#[test]
#[expect(clippy::disallowed_methods, reason = "the time of day is where fresh seeds come from")]
fn a_slice_of_fresh_seeds_keeps_the_promises() {
    let fresh = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = match std::env::var("DAYFLY_SIM_FIRST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fresh.as_secs() * 1_000,
    };
    println!("the first seed is {first}");
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

/// One job from the first call to the last: the daemon dies before and after every effect and every commit of it.
#[test]
fn the_daemon_may_die_at_every_point() {
    for (source, most) in [("", 80), (" webhook", 55)] {
        let mut died = 0;
        for points in 0..110 {
            let script = format!(
                "disk sync 0s\nengine boot 5s creates 4 room 20 fast\npool engine 0 max 2 min-idle 0 warm 1{source}\n\
                 at 0s crash after {points} down 10s jump 0\nat 1s jobs p0 1 taking 20s\nat 90s jobs p0 1 taking 5s\n"
            );
            let report = run(&Scenario::parse(&script).unwrap(), false).unwrap();
            let first = report.violations.first();
            assert!(first.is_none(), "{source} after {points} points: {}", first.unwrap());
            died += report.faults.get("crash").copied().unwrap_or(0);
        }
        // The life has about ninety points, and sixty where there are no messages; what comes later strikes nothing.
        assert!(died > most, "{died} deaths of a pool{source}");
    }
}
