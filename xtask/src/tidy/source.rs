//! Rules on single files: what no source may hold, and what each must have.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::metadata::root;

/// A file longer than this wants to be two nouns.
const LINES_MAX: usize = 600;

/// What no file may hold, with the reason. Spelled in two parts, so that this file may stand.
const NEVER: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of somebody's machine"),
    (concat!("/ro", "ot/"), "a path of somebody's machine"),
    (concat!("FIX", "ME"), "unfinished work: finish it, or open an issue"),
    (concat!("TO", "DO"), "unfinished work: finish it, or open an issue"),
];

/// What no Rust source may hold.
const NEVER_IN_RUST: &[(&str, &str)] = &[
    (concat!("tod", "o!("), "unfinished work: finish it"),
    (concat!("unimpl", "emented!("), "unfinished work: finish it"),
    (concat!("#[al", "low("), "write #[expect(…, reason = \"…\")]"),
    (concat!("#![al", "low("), "write #![expect(…, reason = \"…\")]"),
];

/// Every file that breaks a rule.
pub fn faults(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in files {
        // A binary file has no lines to judge.
        let Ok(text) = String::from_utf8(std::fs::read(root().join(file))?) else { continue };
        faults.extend(check(file, &text));
    }
    Ok(faults)
}

fn check(file: &Path, text: &str) -> Vec<String> {
    let name = file.display();
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    let mut faults = Vec::new();
    let rules = NEVER.iter().chain(if is_rust { NEVER_IN_RUST } else { &[] });
    for (pattern, reason) in rules {
        if let Some(at) = text.lines().position(|line| line.contains(pattern)) {
            faults.push(format!("{name}:{}: `{pattern}`: {reason}", at + 1));
        }
    }
    if is_rust {
        // A module's tests beside it are told of by the module.
        if !text.starts_with("//!") && !file.ends_with("tests.rs") {
            faults
                .push(format!("{name}:1: begins without a module comment (`//! What it is for.`)"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults
                .push(format!("{name}: {lines} lines; more than {LINES_MAX} want to be two nouns"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_breach() {
        let check = |file: &str, text: &str, expected: usize| {
            let faults = check(Path::new(file), text);
            assert_eq!(faults.len(), expected, "{file}: {faults:?}");
        };
        check("a.rs", "//! Fine.\nfn f() {}\n", 0);
        check("a.rs", "fn f() {}\n", 1);
        check("a.rs", concat!("//! Lazy.\nfn f() { tod", "o!() }\n"), 1);
        check("a.rs", concat!("//! Lazy.\n#[al", "low(dead_code)]\nfn f() {}\n"), 1);
        check("a.md", concat!("see /ro", "ot/x\n"), 1);
        check("a.md", "/home/runner is GitHub's own\n", 0);
        check("a.rs", &format!("//! Long.\n{}", "\n".repeat(LINES_MAX)), 1);
    }
}
