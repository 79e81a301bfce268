//! The script language: "given, when, then" as text, one command a line, each followed by what came of it.
//!
//! - `file`: a script file, its commands and their recorded output;
//! - `words`: how names, times, counts and errors are written;
//! - `given`: the configuration that a script begins with;
//! - `stage`: the laboratory with the aliases of runners (`r1`, `r2`, … in the order of their making);
//! - `when`: what each command does;
//! - `answers`: what GitHub and the engines answer to calls under way;
//! - `evidence`: what webhooks and GitHub's REST API tell of workflow jobs;
//! - `show`: how effects, events and reports are written.

mod answers;
mod evidence;
pub mod file;
mod given;
mod show;
mod stage;
mod when;
mod words;

pub use when::run;
