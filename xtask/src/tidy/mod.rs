//! The rules that no compiler checks. Each returns what breaks it, in words with a place and a remedy.

mod documents;
mod edges;
mod source;
mod supply;

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::metadata::{Metadata, root};

/// Prints every breach; `false` where there is one.
pub fn run() -> Result<bool> {
    let faults = faults()?;
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    println!(
        "tidy: {}",
        if faults.is_empty() {
            "nothing to complain of".to_owned()
        } else {
            format!("{} faults", faults.len())
        }
    );
    Ok(faults.is_empty())
}

fn faults() -> Result<Vec<String>> {
    let metadata = Metadata::load()?;
    let files = files()?;
    let mut faults = edges::faults(&metadata);
    faults.extend(supply::faults(&metadata)?);
    faults.extend(source::faults(&files)?);
    faults.extend(documents::faults(&files)?);
    Ok(faults)
}

/// Every file that is, or is about to be, under version control; relative to the root.
fn files() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git did not start")?;
    ensure!(
        output.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let list = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    Ok(list
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|path| root().join(path).is_file())
        .collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        let faults = super::faults().unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
