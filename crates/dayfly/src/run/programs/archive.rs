//! One archive of the runner program, as its file is named.

use std::path::{Path, PathBuf};

/// What every file begins with.
const PREFIX: &str = "actions-runner-linux-";

/// What it ends with.
const SUFFIX: &str = ".tar.gz";

/// An archive whose content has been checked against its sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its version.
    pub version: String,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it is.
    pub file: PathBuf,
}

impl Archive {
    /// The archive of a version, by its place: its name says what it must hold.
    pub fn in_directory(directory: &Path, architecture: &str, version: &str, sha256: &str) -> Self {
        let name = format!("{PREFIX}{architecture}-{version}-{sha256}{SUFFIX}");
        let (version, sha256) = (version.to_owned(), sha256.to_owned());
        Self { version, sha256, file: directory.join(name) }
    }

    /// What a file's name says; `None` where it is no archive for the architecture.
    pub fn named(file: &Path, architecture: &str) -> Option<Self> {
        let name = file.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (version, sha256) =
            name.strip_prefix(architecture)?.strip_prefix('-')?.split_once('-')?;
        let (version, sha256) = (version.to_owned(), sha256.to_owned());
        Some(Self { version, sha256, file: file.to_owned() })
    }

    /// The version's numbers, by which versions are compared.
    pub fn order(&self) -> Vec<u64> {
        order(&self.version)
    }
}

/// A version's numbers, by which versions are compared.
pub fn order(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_holds() {
        let sum = "ab".repeat(32);
        let archive = Archive::in_directory(Path::new("/cache"), "x64", "2.330.0", &sum);
        assert_eq!(Archive::named(&archive.file, "x64"), Some(archive.clone()));
        for (file, architecture) in [
            (archive.file.clone(), "arm64"),
            (archive.file.with_extension("part"), "x64"),
            ("/cache/seen-2.330.0".into(), "x64"),
        ] {
            assert_eq!(Archive::named(&file, architecture), None, "{}", file.display());
        }
        let older = Archive::in_directory(Path::new("/cache"), "x64", "2.99.1", &sum);
        assert!(older.order() < archive.order());
    }
}
