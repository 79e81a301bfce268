//! Scripts of "given, when, then": `tests/scripts/*.txt`, each command followed by what came of it.
//!
//! `UPDATE=1 cargo test -p dayfly-core --test scripts` writes what comes of each command into the files: read the
//! difference before you commit it. `SCRIPT=name` runs one file.

mod lab;
mod script;

use std::{env, fs, path::Path};

use script::file;

#[test]
fn scripts_keep_their_output() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let only = env::var("SCRIPT").ok();
    let update = env::var_os("UPDATE").is_some();
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut failures = Vec::new();
    let mut ran = 0;
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        ran += 1;
        let recorded = fs::read_to_string(&path).unwrap();
        let mut lines = file::parse(&recorded);
        if let Err(error) = script::run(&mut lines) {
            let so_far = if only.is_some() { file::render(&lines) } else { String::new() };
            failures.push(format!("{name}: {so_far}{error}"));
            continue;
        }
        let now = file::render(&lines);
        if now == recorded {
            continue;
        }
        if update {
            fs::write(&path, now).unwrap();
        } else {
            failures.push(format!("{name}:\n{}", difference(&recorded, &now)));
        }
    }
    assert!(ran > 0, "no script was run");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The first lines that differ, with the command they belong to.
fn difference(recorded: &str, now: &str) -> String {
    let mut command = "";
    let mut lines = now.lines();
    for recorded in recorded.lines() {
        let now = lines.next().unwrap_or("(the end)");
        if !now.starts_with("  ") {
            command = now;
        }
        if recorded != now {
            return format!("after `{command}`\n  recorded: {recorded}\n  now:      {now}");
        }
    }
    format!("after `{command}`\n  recorded: (the end)\n  now:      {}", lines.next().unwrap_or(""))
}
