//! `dayfly store backup`: a copy of the store, also while a daemon writes to it.

use anyhow::Result;
use serde_json::json;

use super::check;
use crate::{
    arguments::Backup,
    failure::{Code, Failure},
};

/// Copies the store, checks the copy and tells what is in it.
pub fn back_up(options: &Backup, json: bool) -> Result<()> {
    let from = check::path(&options.from)?;
    let checkup = dayfly_store::back_up(&from, &options.to)
        .map_err(|error| Failure::new(Code::Store, error))?;
    if json {
        let document = json!({
            "store": from, "backup": options.to, "controller": checkup.controller, "runners": checkup.runners,
            "pools": checkup.pools, "jobs": checkup.jobs, "troubles": checkup.troubles,
        });
        println!("{document}");
    } else {
        println!("{} is copied to {}", from.display(), options.to.display());
        println!("{}", check::text(&checkup));
    }
    Ok(())
}
