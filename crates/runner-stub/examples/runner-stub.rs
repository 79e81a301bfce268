//! The stand-in runner as a program of its own, for trying it out: `runner-stub [run] [--jitconfig BLOB]` in an empty directory.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        arguments
            .iter()
            .position(|argument| argument == name)
            .and_then(|at| arguments.get(at + 1).cloned())
    };
    dayfly_runner_stub::main(&dayfly_runner_stub::StubArgs {
        jitconfig: after("--jitconfig"),
        root: std::path::PathBuf::from("."),
        wrapper: arguments.first().is_some_and(|first| first == "run"),
    })
}
