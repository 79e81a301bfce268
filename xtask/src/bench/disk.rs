//! The disk's own speed: what every commit of the daemon has to wait for, whatever the program does.

use std::{fs::File, io::Write, path::Path};

use anyhow::{Context, Result};

use super::clock;

/// Enough for a 99th percentile that two outliers do not decide.
const WRITES: usize = 300;

/// A page of SQLite's log.
const BYTES: [u8; 4096] = [7; 4096];

/// The 99th percentile of a synced append of 4 KiB in `directory`, in milliseconds.
pub fn sync_ms_p99(directory: &Path) -> Result<f64> {
    let path = directory.join("sync-probe");
    let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begin = clock::now();
        file.write_all(&BYTES)?;
        file.sync_data()?;
        times.push((clock::now() - begin) * 1_000.0);
    }
    drop(file);
    std::fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(WRITES * 99 / 100 - 1).copied().unwrap_or(f64::NAN))
}
