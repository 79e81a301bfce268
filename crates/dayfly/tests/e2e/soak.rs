//! Everything dies again and again on real Docker, by chance, and no job is lost. `cargo xtask soak` runs it.

use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use crate::{
    docker::{PrivateEngine, image},
    site::{Making, Setup, Site},
};

/// Jobs that wait or run at any time: more than runners, so that every fault strikes some.
const OPEN_JOBS: u64 = 15;

/// How often chance is asked.
const TICK: Duration = Duration::from_secs(1);

/// How long the last jobs may take once the faults have stopped: creation that was paused waits for minutes.
const RECOVERY: Duration = Duration::from_secs(600);

/// What may happen, each for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9` of the daemon.
    Daemon,
    /// `kill -9` of the engine.
    Engine,
    /// GitHub is dead to all its clients: connections break and are refused.
    GithubCut,
    /// GitHub answers nobody.
    GithubFrozen,
    /// The store's disk is full.
    Disk,
}

/// Each with its chance in a thousand at a tick, and the longest it lasts, in ticks.
const FAULTS: [(Fault, u32, u32); 5] = [
    (Fault::Daemon, 60, 4),
    (Fault::Engine, 20, 6),
    (Fault::GithubCut, 30, 12),
    (Fault::GithubFrozen, 20, 12),
    (Fault::Disk, 30, 10),
];

#[expect(clippy::disallowed_methods, reason = "a test has no port to ask")]
fn now() -> Instant {
    Instant::now()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}

/// The site and what ails it.
struct Soak {
    site: Site,
    engine: PrivateEngine,
    rng: Rng,
    /// How many ticks each fault goes on, in the order of [`FAULTS`].
    left: [u32; FAULTS.len()],
    struck: [u32; FAULTS.len()],
    queued: u64,
    began: Instant,
}

impl Soak {
    fn is(&self, fault: Fault) -> bool {
        FAULTS.iter().zip(self.left).any(|((of, ..), left)| *of == fault && left > 0)
    }

    fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Daemon => self.site.crash(),
            Fault::Engine => self.engine.crash(),
            Fault::GithubCut => self.site.way.as_ref().unwrap().open(false),
            Fault::GithubFrozen => self.site.github.freeze(true),
            Fault::Disk => self.site.disk.as_ref().unwrap().fill(),
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Daemon => self.site.start(),
            Fault::Engine => self.engine.start_dockerd(),
            Fault::GithubCut => self.site.way.as_ref().unwrap().open(true),
            Fault::GithubFrozen => self.site.github.freeze(false),
            Fault::Disk => self.site.disk.as_ref().unwrap().free(),
        }
    }

    /// Goes on by one tick: faults end and begin by chance.
    fn strike(&mut self, calm: bool) {
        for (index, (fault, chance, longest)) in FAULTS.into_iter().enumerate() {
            if self.left[index] > 0 {
                self.left[index] -= 1;
                if self.left[index] == 0 {
                    self.end(fault);
                }
            } else if !calm && self.rng.u32(0..1_000) < chance {
                self.left[index] = self.rng.u32(1..=longest);
                self.struck[index] += 1;
                self.say(&format!("{fault:?} for {} s", self.left[index]));
                self.begin(fault);
            }
        }
        self.look_after_the_daemon();
    }

    /// A daemon that ends where its disk is full is started again, as a service manager would. It ends for nothing else.
    fn look_after_the_daemon(&mut self) {
        if self.is(Fault::Daemon) {
            return;
        }
        let log = self.site.log();
        if let Some(status) = self.site.daemon_ended() {
            let last = log.lines().last().unwrap_or_default();
            self.say(&format!("the daemon ended by itself, {status}: {last}"));
            assert!(log.contains("full"), "the daemon ended for no good reason: {log}");
            self.site.start();
        }
    }

    /// Keeps enough jobs waiting; gives how many are open.
    async fn feed(&mut self) -> u64 {
        let succeeded = self.site.github.jobs("success").await;
        let open = self.queued - succeeded;
        if open < OPEN_JOBS {
            let step = format!("/usr/local/bin/dayfly runner-stub sleep {}", self.rng.u32(0..4));
            self.site.github.queue("acme/site", Some(&step), 5).await;
            self.queued += 5;
        }
        open
    }
}

#[tokio::test]
#[ignore = "needs dockerd, root and a quarter of an hour"]
async fn everything_dies_by_chance_and_no_job_is_lost() {
    let minutes = number("DAYFLY_SOAK_MINUTES").unwrap_or(15);
    let seed = number("DAYFLY_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, {minutes} minutes");
    let engine = PrivateEngine::start(&image());
    let making = Making::Docker { image: engine.image.clone(), socket: engine.socket() };
    let setup = Setup { making, max: 5, small_disk: true, cuttable: true, ..Setup::default() };
    let mut site = Site::new(setup).await;
    // GitHub's hourly limit would end the run long before its time.
    site.github.post("options", &json!({ "core_limit": 1_000_000 })).await;
    site.start_and_wait();
    let mut soak = Soak {
        site,
        engine,
        rng: Rng::with_seed(seed),
        left: [0; FAULTS.len()],
        struck: [0; FAULTS.len()],
        queued: 0,
        began: now(),
    };
    while soak.began.elapsed() < Duration::from_secs(minutes * 60) {
        soak.strike(false);
        if !soak.is(Fault::GithubFrozen) {
            soak.feed().await;
        }
        tokio::time::sleep(TICK).await;
    }
    while soak.left.iter().any(|left| *left > 0) {
        soak.strike(true);
        tokio::time::sleep(TICK).await;
    }
    let faults: Vec<String> = FAULTS
        .iter()
        .zip(soak.struck)
        .map(|((fault, ..), count)| format!("{fault:?} {count}"))
        .collect();
    soak.say(&format!("the faults have stopped: {}; {} jobs", faults.join(", "), soak.queued));
    let calm = now();
    while soak.site.github.jobs("success").await < soak.queued {
        let summary = soak.site.github.get("summary").await;
        assert!(calm.elapsed() < RECOVERY, "jobs are lost: {summary:#}");
        assert_eq!(summary["jobs"]["failure"], 0, "{summary:#}");
        soak.look_after_the_daemon();
        tokio::time::sleep(TICK).await;
    }
    soak.say("every job has succeeded");
    soak.site.end_clean().await;
    soak.say("nothing is left");
}
