//! Random walks: whatever happens in whatever order, the counts agree with each other, and every job ends.

use serde_json::{Value, json};

use crate::driver::{Driver, Runner, Session, statistics};

struct Walk {
    driver: Driver,
    rng: fastrand::Rng,
    set: i64,
    session: Option<Session>,
    cursor: i64,
    runners: Vec<(Runner, Option<String>)>,
    names: usize,
    said: Vec<&'static str>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut driver = if seed.is_multiple_of(2) { Driver::new() } else { Driver::acquiring() };
        driver.control(
            "options",
            json!({ "core_limit": 1_000_000, "idle_removal_ms": 150_000, "batch": 3, "admin_token_ttl_ms": 864_000_000 }),
        );
        let set = driver.set("one", &["linux"]);
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            driver,
            rng,
            set,
            session: None,
            cursor: 0,
            runners: Vec::new(),
            names: 0,
            said: Vec::new(),
        }
    }

    fn some_job(&mut self) -> Option<i64> {
        let state = self.driver.look("state");
        let jobs = state["jobs"].as_array().unwrap();
        if jobs.is_empty() { None } else { jobs[self.rng.usize(..jobs.len())]["id"].as_i64() }
    }

    fn poll(&mut self) {
        let Some(session) = self.session.clone() else { return };
        let capacity = self.rng.i64(0..6);
        match self.driver.poll(&session, self.cursor, capacity) {
            Ok(got) if got.status == 200 => {
                self.cursor = got.body["messageId"].as_i64().unwrap();
                let entries: Vec<Value> = crate::driver::entries(&got.body);
                let offered: Vec<&Value> = entries
                    .iter()
                    .filter(|entry| entry["messageType"] == "JobAvailable")
                    .map(|entry| &entry["runnerRequestId"])
                    .collect();
                if !offered.is_empty() {
                    let path = format!(
                        "{}/runnerscalesets/{}/acquirejobs?api-version=6.0-preview",
                        crate::driver::SERVICE,
                        self.set
                    );
                    self.driver
                        .call("POST", &path, &format!("Bearer {}", session.token), &json!(offered))
                        .ok(200);
                }
                self.driver.acknowledge(&session, self.cursor).ok(204);
            }
            Ok(got) => {
                assert!(matches!(got.status, 401 | 404), "{}", got.status);
                self.session = None;
            }
            Err(hold) => self.driver.sim.abandon(self.driver.now, hold),
        }
    }

    fn runner_acts(&mut self) {
        if self.runners.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.runners.len());
        let (runner, job) = &mut self.runners[index];
        match job.take() {
            Some(job) => {
                let conclusion = *self.rng.choice(&["succeeded", "failed", "canceled"]).unwrap();
                let body = json!({ "jobID": job, "conclusion": conclusion });
                self.driver.runner_call(runner, "POST", "/run-service/completejob", &body);
                self.runners.swap_remove(index);
            }
            None if self.rng.u8(..6) == 0 => {
                self.driver.runner_call(runner, "DELETE", "/broker/session", &Value::Null);
                self.runners.swap_remove(index);
            }
            None => match self.driver.runner_poll(runner) {
                Ok(got) if got.status == 200 => {
                    let body: Value =
                        serde_json::from_str(got.body["body"].as_str().unwrap()).unwrap();
                    if let Some(id) = body["runner_request_id"].as_str().filter(|_| self.rng.bool())
                    {
                        let taken = self.driver.runner_call(
                            runner,
                            "POST",
                            "/run-service/acquirejob",
                            &json!({ "jobMessageId": id }),
                        );
                        *job = (taken.status == 200).then(|| id.to_owned());
                    }
                }
                Ok(_) => drop(self.runners.swap_remove(index)),
                Err(hold) if self.rng.bool() => self.driver.sim.abandon(self.driver.now, hold),
                Err(_) => {}
            },
        }
    }

    fn step(&mut self) {
        let (what, set) = (self.rng.u8(..14), self.set);
        self.said.push(
            [
                "queue", "poll", "poll", "runner", "runner", "runner", "mint", "pass", "cancel",
                "session", "evict", "vanish", "complete", "long",
            ][usize::from(what)],
        );
        match what {
            0 => drop(self.driver.queue(&["linux"], 1)),
            1 | 2 => self.poll(),
            3..=5 => self.runner_acts(),
            6 => {
                self.names += 1;
                let mut runner = self.driver.mint(set, &format!("r{}", self.names));
                if self.rng.u8(..5) > 0 {
                    self.driver.connect(&mut runner);
                    self.runners.push((runner, None));
                }
            }
            7 => self.driver.pass(20),
            8 => {
                let force = if self.rng.bool() { "?force=1" } else { "" };
                if let Some(job) = self.some_job() {
                    self.driver.control(&format!("jobs/{job}/cancel{force}"), Value::Null);
                }
            }
            9 if self.session.is_none() => {
                let path = format!("/runnerscalesets/{set}/sessions");
                let made = self.driver.service("POST", &path, &json!({ "ownerName": "w" }));
                if made.status == 200 {
                    self.session = Some(crate::driver::session_of(set, &made.body));
                    self.cursor = 0;
                }
            }
            10 if self.rng.u8(..4) == 0 => {
                drop(self.driver.control(&format!("sets/{set}/evict"), Value::Null));
            }
            11 if !self.runners.is_empty() => {
                let (runner, _) = self.runners.swap_remove(0);
                let path = format!("/control/runners/{}/remove", runner.id);
                self.driver.call("POST", &path, "", &Value::Null);
            }
            12 if self.rng.u8(..3) == 0 => {
                if let Some(job) = self.some_job() {
                    self.driver.control(
                        &format!("jobs/{job}/complete"),
                        json!({ "conclusion": "failure" }),
                    );
                }
            }
            13 if self.rng.u8(..5) == 0 => self.driver.pass(700),
            _ => {}
        }
        self.driver.sim.take_woken();
    }

    /// What must hold after every step, counted anew from the whole state.
    fn check(&mut self) {
        let state = self.driver.look("state");
        let summary = self.driver.look("summary");
        let count = |list: &str, keep: &dyn Fn(&Value) -> bool| {
            i64::try_from(state[list].as_array().unwrap().iter().filter(|item| keep(item)).count())
                .unwrap()
        };
        let phase = |name: &'static str| count("jobs", &|job| job["phase"] == name);
        let set = &state["sets"][0];
        let [available, acquired, assigned, running, registered, busy, idle] =
            statistics(&set["statistics"]);
        assert!(
            running <= assigned && busy <= registered && idle + busy <= registered + 1,
            "{set}"
        );
        assert_eq!(acquired, assigned - running, "{set}");
        assert_eq!(available, phase("waiting"), "{set}");
        assert_eq!(assigned, phase("assigned") + phase("offered") + phase("running"), "{set}");
        assert_eq!(running, phase("running"), "{set}");
        assert_eq!(
            (registered, busy),
            (count("runners", &|_| true), count("runners", &|runner| runner["busy"] == true)),
            "{set}"
        );
        let jobs = &summary["jobs"];
        assert_eq!(
            (&jobs["waiting"], &jobs["assigned"]),
            (&json!(phase("waiting")), &json!(phase("assigned")))
        );
        assert_eq!(jobs["running"], phase("running") + phase("offered"));
        for end in ["success", "failure", "cancelled"] {
            assert_eq!(jobs[end], phase(end), "{end}");
        }
        assert_eq!(
            summary["runners"]["online"],
            count("runners", &|runner| runner["online"] == true)
        );
        assert_eq!(summary["runners"]["busy"], busy);
    }
}

#[test]
fn the_counts_agree_and_every_job_ends() {
    for seed in 0..60 {
        let mut walk = Walk::new(seed);
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..150 {
                walk.step();
                walk.check();
            }
        }));
        assert!(steps.is_ok(), "seed {seed}: {:?}", walk.said);
        // Left alone, everything comes to its end by a deadline.
        walk.driver.pass(3 * 24 * 3600);
        walk.check();
        let summary = walk.driver.look("summary");
        let jobs = &summary["jobs"];
        assert_eq!(
            (&jobs["waiting"], &jobs["assigned"], &jobs["running"]),
            (&json!(0), &json!(0), &json!(0)),
            "seed {seed}"
        );
    }
}
