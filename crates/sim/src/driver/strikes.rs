//! What strikes the daemon itself, or comes to it from its users.

use std::sync::Arc;

use dayfly_core::{
    effect::Command,
    model::{PoolName, RunnerName},
};

use super::Driver;
use crate::{
    checks::Check,
    daemon::{self, pool_name},
    outside::{DiskStore, Life},
    scenario::What,
};

impl Driver {
    pub(super) fn strike_due(&mut self) {
        let scenario = Arc::clone(&self.scenario);
        while let Some(item) =
            scenario.items.get(self.next_item).filter(|item| item.at <= self.now())
        {
            self.next_item += 1;
            if self.outside.lock().strike(&item.what) {
                self.strike_own(&item.what);
            }
        }
    }

    /// What is done to the daemon, or through it.
    pub(super) fn strike_own(&mut self, what: &What) {
        match what {
            What::Crash { points, down, jump_s } => {
                self.down = *down;
                self.jump_s = *jump_s;
                if *jump_s != 0 {
                    self.outside.lock().count("clock-jump");
                }
                self.outside.lock().arm_crash(*points);
            }
            What::LoseRows => {
                let mut state = self.outside.lock();
                state.count("store-rebuilt");
                state.disk.lose_rows();
                state.arm_crash(0);
            }
            What::Restart { down } if self.daemon.is_some() => {
                self.down = *down;
                self.outside.lock().count("restart");
                self.command(Command::Stop);
                self.stop_asked.get_or_insert(self.started.elapsed());
            }
            What::Second => self.second(),
            What::Drain { pool } => self.of_pool(*pool, Command::Drain, "user-drain"),
            What::Undrain { pool } => self.of_pool(*pool, Command::Undrain, "user-undrain"),
            What::DeletePool { pool } => {
                self.of_pool(*pool, Command::DeletePool, "user-delete-pool");
            }
            What::Renew { pool } => self.renew(*pool),
            What::Remove { nth, even_busy } => self.remove(*nth, *even_busy),
            What::Flush { pool, even_busy } => {
                if let Ok(pool) = pool_name(*pool) {
                    self.outside.lock().count("user-flush");
                    self.command(Command::Flush { pool, even_busy: *even_busy });
                }
            }
            _ => {}
        }
    }

    pub(super) fn of_pool(
        &mut self,
        pool: usize,
        command: fn(PoolName) -> Command,
        fault: &'static str,
    ) {
        if let Ok(name) = pool_name(pool) {
            self.outside.lock().count(fault);
            self.command(command(name));
        }
    }

    /// A pool's image is another one from now on, for this life and for those to come.
    pub(super) fn renew(&mut self, pool: usize) {
        *self.renewals.entry(pool).or_default() += 1;
        let Ok(spec) = daemon::spec(&self.scenario, &self.renewals) else { return };
        self.spec = Arc::new(spec);
        {
            let mut state = self.outside.lock();
            state.count("user-renews");
            state.remake(&self.spec);
        }
        if let Some(daemon) = &self.daemon {
            let (handle, spec) = (daemon.handle.clone(), Arc::clone(&self.spec));
            // A daemon that ends just now has the new one in its next life.
            self.tasks.spawn(async move {
                let _ = handle.remake(spec).await;
            });
        }
    }

    pub(super) fn remove(&mut self, nth: usize, even_busy: bool) {
        let names: Vec<RunnerName> =
            self.outside.lock().disk.rows().map(|row| row.name.clone()).collect();
        if let Some(runner) = names.get(nth % names.len().max(1)) {
            self.outside.lock().count(if even_busy { "user-remove-busy" } else { "user-remove" });
            self.command(Command::Remove { runner: runner.clone(), even_busy });
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        if let Some(daemon) = &self.daemon {
            let handle = daemon.handle.clone();
            // A refusal is the user's to read; what it means for the promises shows in the world.
            self.tasks.spawn(async move {
                let _ = handle.command(command).await;
            });
        }
    }

    /// A second daemon on the store is refused while the first one lives.
    pub(super) fn second(&mut self) {
        if self.daemon.is_none() {
            return;
        }
        self.outside.lock().count("second-daemon");
        let refused = DiskStore::open(&self.outside, Life(0)).is_err();
        self.outside.lock().look(Check::Lock, refused, || {
            "a second daemon has the store while the first one lives".to_owned()
        });
    }
}
