//! dayfly: a fresh instance for each job, on the machines that you already have.

mod arguments;
mod ask;
mod backend;
mod check;
mod client;
mod command;
mod demo;
mod failure;
mod import;
mod load;
mod run;
mod socket;
mod store;
mod table;
mod webhook;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::execute(arguments::Arguments::read())
}
