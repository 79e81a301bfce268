//! How much this machine has.

use std::{fs, path::Path, thread};

use dayfly_core::{
    model::Capacity,
    ports::{BackendError, BackendErrorKind},
};

use super::fault;
use crate::failure::failure;

const OPERATION: &str = "look how much this machine has";

const MEMORY: &str = "/proc/meminfo";

/// The processors that dayfly itself may use, and the machine's memory.
pub(super) fn capacity() -> Result<Capacity, BackendError> {
    let cpus =
        thread::available_parallelism().map_err(|error| fault::of_system(OPERATION, &error))?;
    let path = Path::new(MEMORY);
    let text = fs::read_to_string(path).map_err(|error| fault::on_file(OPERATION, path, &error))?;
    let memory_bytes = total(&text).ok_or_else(|| {
        failure(BackendErrorKind::NotAllowed, OPERATION, format!("{MEMORY} has no MemTotal"))
    })?;
    Ok(Capacity { cpu_millis: cpus.get() as u64 * 1_000, memory_bytes })
}

/// `MemTotal:       16318684 kB`, in bytes (proc(5): kB is KiB).
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read() {
        let check = |text: &str, bytes| assert_eq!(total(text), bytes, "{text}");
        check("MemTotal:       16318684 kB\nMemFree: 5 kB\n", Some(16_318_684 * 1_024));
        check("MemFree: 5 kB\nMemTotal: 1 kB\n", Some(1_024));
        check("MemTotal: 1 MB\n", None);
        check("MemTotal: 18446744073709551615 kB\n", None);
        check("", None);
    }

    #[test]
    fn this_machine_has_something() {
        let has = capacity().unwrap();
        assert!(has.cpu_millis >= 1_000 && has.memory_bytes > 1 << 20, "{has:?}");
    }
}
