//! `dayfly import`: another program's configuration in, the equivalent dayfly.yaml out, and what could not be carried over.
//!
//! Files are read, nobody is asked, and nothing is changed. A secret that stands in such a file is never repeated: a reference
//! stands in its place, and a note says what to put there.

mod draft;
mod garm;
mod garm_store;
mod image;
mod lxdrunner;
mod names;
mod outrunner;

#[cfg(test)]
mod tests;

use std::{fs::File, io::Read, path::Path};

use anyhow::Result;
use serde_json::json;

use self::draft::Draft;
use crate::{
    arguments::{Import, ImportFrom},
    failure::{Code, Failure},
};

/// What is larger is no configuration of any of them.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Prints the configuration on stdout, with what it could not carry over as comments above it.
pub fn run(import: &Import, json: bool) -> Result<()> {
    let draft = read(import)?;
    if json {
        println!("{}", json!({ "config": draft.config()?, "notes": draft.notes }));
    } else {
        print!("{}", draft.text()?);
    }
    Ok(())
}

fn read(import: &Import) -> Result<Draft, Failure> {
    let url = import.url.as_deref();
    let text = file(&import.file)?;
    let invalid = |what: &str, error: String| {
        Failure::new(Code::Config, format!("{}: {error}", import.file.display()))
            .hint(format!("name the file that {what} itself reads"))
    };
    match import.from {
        ImportFrom::Lxdrunner => {
            lxdrunner::read(&text, url).map_err(|error| invalid("LXDRunner", error))
        }
        ImportFrom::Outrunner => {
            outrunner::read(&text, url).map_err(|error| invalid("outrunner", error))
        }
        ImportFrom::Garm => {
            let config = garm::parse(&text).map_err(|error| invalid("GARM", error))?;
            let known = import.database.clone().or_else(|| config.database());
            let pools = known.as_deref().map(garm_store::pools).transpose();
            let pools = pools.map_err(|error| {
                Failure::new(Code::Config, error)
                    .hint("name a copy of GARM's SQLite database by `--database`, made while GARM was not running")
            })?;
            // A provider's own file is named from where GARM runs; beside its configuration is the best guess.
            let beside = import.file.parent().unwrap_or(Path::new(""));
            let settings =
                |path: &Path| file(&beside.join(path)).map_err(|error| error.to_string());
            Ok(garm::draft(&config, pools, url, &settings))
        }
    }
}

fn file(path: &Path) -> Result<String, Failure> {
    let unreadable = |why: String| {
        Failure::new(Code::Config, format!("{} can't be read: {why}", path.display()))
            .hint("name a file of text that you may read")
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    Ok(text)
}

/// A file's own secrets are not for errors: of what a parser says, the words that it quotes are left out.
fn told(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let outside = line
        .split('"')
        .enumerate()
        .map(|(index, part)| if index % 2 == 0 { part } else { "\"…\"" });
    outside.collect::<String>().chars().take(200).collect()
}
