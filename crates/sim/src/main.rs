//! `dayfly-sim`: runs seeds and tells what they found.

use std::time::Instant;

use dayfly_sim::{Dials, generate, run};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let first: u64 = args[1].parse().unwrap_or(1);
    let seeds: u64 = args[2].parse().unwrap_or(1);
    let jobs: usize = args[3].parse().unwrap_or(100);
    let began = Instant::now();
    let mut total = 0;
    let mut hours = 0.0;
    let mut bad = std::collections::BTreeMap::<String, (u32, u64)>::new();
    for seed in first..first + seeds {
        let scenario = generate(seed, jobs, &Dials::default());
        let keep = args.len() > 4;
        let report = run(&scenario, keep).unwrap();
        total += report.jobs;
        hours += report.simulated.as_secs_f64() / 3600.0;
        if keep {
            for line in &report.log { println!("{line}"); }
            println!("{:?}", report.faults);
            println!("{:?} {:?}", report.excused, report.hash);
        }
        for violation in &report.violations {
            let e = bad.entry(violation.check.name().to_owned()).or_insert((0, seed));
            e.0 += 1;
            if keep || e.0 < 3 { println!("seed {seed}: {violation}"); }
        }
    }
    println!("{total} jobs, {hours:.1} h, {:.0} jobs/s, {bad:?}", total as f64 / began.elapsed().as_secs_f64());
}
