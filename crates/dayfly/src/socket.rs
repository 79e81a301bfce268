//! Where the daemon's socket is.

use std::path::PathBuf;

/// The place for a socket that nobody named: the user's runtime directory, else the system's.
#[must_use]
pub fn default_path() -> PathBuf {
    path_in(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn path_in(runtime_directory: Option<PathBuf>) -> PathBuf {
    // The XDG specification: a relative path is to be ignored.
    let base = runtime_directory
        .filter(|directory| directory.is_absolute())
        .unwrap_or_else(|| PathBuf::from("/run"));
    base.join("dayfly").join("dayfly.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_directory_comes_before_the_systems() {
        let check = |runtime: Option<&str>, expected: &str| {
            assert_eq!(path_in(runtime.map(PathBuf::from)), PathBuf::from(expected), "{runtime:?}");
        };
        check(Some("/run/user/1000"), "/run/user/1000/dayfly/dayfly.sock");
        check(Some("relative"), "/run/dayfly/dayfly.sock");
        check(Some(""), "/run/dayfly/dayfly.sock");
        check(None, "/run/dayfly/dayfly.sock");
    }
}
