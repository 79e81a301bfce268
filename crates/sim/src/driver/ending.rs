//! The end of a simulation: the faults stop, and what the promises say must come true.

use std::{collections::BTreeSet, time::Duration};

use dayfly_core::effect::Command;

use super::{Driver, END_BOUND, SETTLE_BOUND, START_BOUND};
use crate::{checks::Check, daemon::pool_name, outside::State, quiet};

impl Driver {
    /// The faults stop.
    pub(super) fn heal(&mut self) {
        {
            let mut state = self.outside.lock();
            state.note(format_args!("the faults stop"));
            state.heal();
        }
        // Also one that is still ending is there again soon.
        self.down = self.down.min(Duration::from_secs(5));
        if self.daemon.is_none() {
            self.start_at = self.start_at.map(|at| at.min(self.now() + self.down));
        }
    }

    /// Every job that a pool takes ends.
    pub(super) async fn finish_jobs(&mut self) {
        // The first minute is for a daemon that is just starting, and for one that is just ending.
        self.run_until(self.now() + Duration::from_secs(60), |_| false).await;
        for pool in 0..self.scenario.pools.len() {
            if let Ok(name) = pool_name(pool) {
                self.command(Command::Undrain(name));
            }
        }
        let bound = {
            let state = self.outside.lock();
            let wait = state.github.longest_wait.max(self.now());
            wait + START_BOUND + state.time_for_jobs()
        };
        self.run_until(bound, State::all_over).await;
        self.outside.lock().check_jobs();
    }

    /// The world becomes quiet, and as it was configured.
    pub(super) async fn settle(&mut self) {
        let until = self.now() + SETTLE_BOUND;
        let mut found;
        let mut seen = BTreeSet::new();
        // Idle runners that GitHub removes are there only for a while.
        let removes = self.scenario.github.idle_removal.is_some();
        let every = Duration::from_secs(if removes { 10 } else { 30 });
        loop {
            self.run_until(self.now() + every, |_| false).await;
            found = self.outside.lock().unsettled(&mut seen);
            if found.is_none() || self.now() >= until {
                break;
            }
        }
        self.outside.lock().look(Check::Settles, found.is_none(), || found.unwrap_or_default());
        self.check_quiet().await;
    }

    /// Where nothing happens, nothing is planned: each pool is looked at when it is at rest.
    pub(super) async fn check_quiet(&mut self) {
        let until = self.now() + SETTLE_BOUND;
        let mut rested = BTreeSet::new();
        loop {
            let Some(daemon) = &self.daemon else { return };
            let moving = self.outside.lock().moving();
            let Ok((resting, planned)) =
                daemon.handle.clone().read(move |view| quiet::planned_at_rest(view, &moving)).await
            else {
                return;
            };
            rested.extend(resting);
            let rests = |index: &usize| {
                pool_name(*index).is_ok_and(|name| rested.contains(&name))
                    || self.scenario.is_restless(*index)
            };
            let all = (0..self.scenario.pools.len()).all(|index| rests(&index));
            let over = self.now() >= until;
            {
                let mut state = self.outside.lock();
                state.look(Check::Quiet, planned.is_empty(), || format!("it plans {planned:?}"));
                state.look(Check::Quiet, all || !over, || {
                    format!("of all pools only {rested:?} come to rest")
                });
            }
            if all || over {
                return;
            }
            self.run_until(self.now() + Duration::from_secs(10), |_| false).await;
        }
    }

    /// Once the pools are deleted nothing is left.
    pub(super) async fn delete_all(&mut self) {
        for pool in 0..self.scenario.pools.len() {
            if let Ok(name) = pool_name(pool) {
                self.command(Command::DeletePool(name));
            }
        }
        let until = self.now() + SETTLE_BOUND;
        let mut left;
        loop {
            self.run_until(self.now() + Duration::from_secs(30), |_| false).await;
            left = self.outside.lock().left();
            if left.is_none() || self.now() >= until {
                break;
            }
        }
        self.outside.lock().check_thrift();
        self.outside.lock().check_foreign();
        self.outside.lock().look(Check::NothingLeft, left.is_none(), || left.unwrap_or_default());
    }

    pub(super) async fn stop(&mut self) {
        if self.daemon.is_none() {
            return;
        }
        self.down = Duration::from_secs(24 * 3_600);
        self.command(Command::Stop);
        let asked = self.now();
        self.stop_asked = Some(asked);
        self.run_until(asked + END_BOUND, |_| false).await;
        let ended = self.daemon.is_none();
        self.outside
            .lock()
            .look(Check::Ends, ended, || "it did not end when it was asked to".to_owned());
        if let Some(daemon) = self.daemon.take() {
            self.outside.lock().end_life();
            daemon.handle.end_now();
            let _ = daemon.ended.await;
        }
    }
}
