//! `dayfly store check`: what is wrong with a store, and what to do about it.

use std::{fmt::Write, path::PathBuf};

use anyhow::Result;
use dayfly_store::Checkup;
use serde_json::json;

use crate::{
    arguments::StoreFile,
    failure::{Code, Failure},
    run,
};

/// Checks the store, prints what came of it, and fails where anything is wrong.
pub fn check(file: &StoreFile, json: bool) -> Result<()> {
    let path = path(file)?;
    let checkup = Checkup::of(&path).map_err(|error| Failure::new(Code::Store, error))?;
    if json {
        let Checkup { version, controller, runners, pools, jobs, troubles, problems } = &checkup;
        let document = json!({
            "store": path, "version": version, "controller": controller, "runners": runners, "pools": pools,
            "jobs": jobs, "troubles": troubles, "problems": problems,
        });
        println!("{document}");
    } else {
        println!("{}", text(&checkup));
    }
    match checkup.problems.len() {
        0 => Ok(()),
        wrong => {
            let what = if wrong == 1 { "problem" } else { "problems" };
            let message = format!("the store {} is damaged: {wrong} {what}", path.display());
            Err(Failure::new(Code::Store, message).hint(Checkup::remedy()).into())
        }
    }
}

/// The store that was named: by its own path, or by the configuration's.
pub fn path(file: &StoreFile) -> Result<PathBuf, Failure> {
    match (&file.store, &file.config) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(config)) => Ok(run::read(config)?.store),
        (None, None) => {
            Err(Failure::new(Code::Usage, "neither a configuration nor a store is named"))
        }
    }
}

/// What people read.
pub fn text(checkup: &Checkup) -> String {
    let Checkup { runners, pools, jobs, troubles, problems, .. } = checkup;
    let unknown = || "unknown".to_owned();
    let version = checkup.version.map_or_else(unknown, |version| version.to_string());
    let controller = checkup.controller.map_or_else(unknown, |controller| controller.to_string());
    let mut text = format!(
        "version {version}, controller {controller}: {runners} runners, {pools} pools, {jobs} jobs, {troubles} troubles"
    );
    for problem in problems {
        let _ = write!(text, "\nWRONG  {problem}");
    }
    if problems.is_empty() {
        text.push_str("\nin order");
    }
    text
}
