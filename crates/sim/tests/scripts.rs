//! Every script keeps the promises: the known failures of others by their numbers, and what seeds once found, shrunk.

use std::path::Path;

use dayfly_sim::{Scenario, run};

fn check(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if !text.starts_with("# ") {
        return Err("it does not say what it shows".to_owned());
    }
    let scenario = Scenario::parse(&text).map_err(|error| error.to_string())?;
    let again = Scenario::parse(&scenario.to_string()).map_err(|error| error.to_string())?;
    if again != scenario {
        return Err("written and read again it is another".to_owned());
    }
    let report = run(&scenario, false)?;
    match report.violations.first() {
        Some(violation) => Err(violation.to_string()),
        None => Ok(()),
    }
}

#[test]
fn every_script_keeps_the_promises() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() > 20, "{} scripts", scripts.len());
    let failed: Vec<String> = scripts
        .iter()
        .filter_map(|path| check(path).err().map(|why| format!("{}: {why}", path.display())))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
