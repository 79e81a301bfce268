//! The demo's container image, made of what is on this machine: the `dayfly` binary, `/bin/sh` and their libraries.
//! No registry is asked.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The directory of the runner program in the image, as in GitHub's own image.
pub const RUNNER_HOME: &str = "/home/runner";

/// Where the image keeps this program.
const PROGRAM: &str = "usr/local/bin/dayfly";

/// What GitHub's image starts; here it starts the stand-in.
const RUN_SH: &str = "#!/bin/sh\nexec /usr/local/bin/dayfly runner-stub run \"$@\"\n";

/// A file of the image.
struct Entry {
    path: String,
    mode: u32,
    content: Vec<u8>,
}

/// An image's root file system, as a tar archive.
pub struct Image {
    /// `dayfly-demo:<hash of the content>`: made once for each build of this program.
    pub name: String,
    /// The archive.
    pub archive: Vec<u8>,
}

/// Packs the image.
///
/// # Errors
/// Where a file can't be read, or the programs are not built for this system's loader.
pub fn pack() -> Result<Image> {
    let program = std::env::current_exe().context("find this program's own file")?;
    let mut entries = vec![
        read(&program, PROGRAM, 0o755)?,
        read(Path::new("/bin/sh"), "bin/sh", 0o755)?,
        Entry {
            path: format!("{}/run.sh", &RUNNER_HOME[1..]),
            mode: 0o755,
            content: RUN_SH.into(),
        },
    ];
    let mut libraries = libraries(&program)?;
    libraries.extend(libraries_of_shell()?);
    for library in libraries {
        let path = library
            .to_str()
            .context("a library's path is not UTF-8")?
            .trim_start_matches('/')
            .to_owned();
        entries.push(read(&library, &path, 0o755)?);
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Image { name: format!("dayfly-demo:{}", hash(&entries)), archive: archive(&entries)? })
}

fn libraries_of_shell() -> Result<BTreeSet<PathBuf>> {
    libraries(Path::new("/bin/sh"))
}

fn read(file: &Path, path: &str, mode: u32) -> Result<Entry> {
    let content = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok(Entry { path: path.to_owned(), mode, content })
}

/// What `ldd` lists for a program: the loader and the libraries; none for a static one.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd did not start")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success()
        && !text.contains("not a dynamic executable")
        && !text.contains("statically linked")
    {
        bail!("ldd {}: {}", program.display(), text.trim());
    }
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("ldd {}: {}", program.display(), missing.trim());
    }
    Ok(listed(&text))
}

/// The absolute paths in lines such as `libc.so.6 => /lib/…/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn listed(text: &str) -> BTreeSet<PathBuf> {
    text.lines()
        .filter_map(|line| {
            let place = line.split_once("=>").map_or(line, |(_, place)| place).trim();
            let (path, _) = place.rsplit_once(" (0x")?;
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect()
}

fn hash(entries: &[Entry]) -> String {
    let mut digest = Sha256::new();
    for entry in entries {
        digest.update(entry.path.as_bytes());
        digest.update([0]);
        digest.update(entry.content.len().to_le_bytes());
        digest.update(&entry.content);
    }
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn archive(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut made = BTreeSet::new();
    // The runner's stand-in writes into its home and into /tmp, whatever user it is.
    for directory in ["tmp", &RUNNER_HOME[1..]] {
        directories(&mut archive, &mut made, &format!("{directory}/x"), 0o1777)?;
    }
    for entry in entries {
        directories(&mut archive, &mut made, &entry.path, 0o755)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(entry.content.len() as u64);
        header.set_mode(entry.mode);
        archive
            .append_data(&mut header, &entry.path, entry.content.as_slice())
            .context("pack the image")?;
    }
    let mut bytes = archive.into_inner().context("pack the image")?;
    bytes.flush()?;
    Ok(bytes)
}

/// Adds the directories above `path` that are not in the archive yet.
fn directories(
    archive: &mut tar::Builder<Vec<u8>>,
    made: &mut BTreeSet<PathBuf>,
    path: &str,
    mode: u32,
) -> Result<()> {
    let mut above: Vec<&Path> =
        Path::new(path).ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
    above.reverse();
    for directory in above {
        if made.insert(directory.to_owned()) {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(mode);
            archive
                .append_data(&mut header, directory, std::io::empty())
                .context("pack the image")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_lists_is_read() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(listed(text), expected.iter().map(PathBuf::from).collect(), "{text}");
        };
        check(
            "\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x00007f)\n",
            &["/lib/x/libc.so.6", "/lib64/ld.so.2"],
        );
        check("\tlinux-vdso.so.1 (0x00007ffd)\n", &[]);
        check("\tnot a dynamic executable\n", &[]);
    }

    #[test]
    fn the_archive_holds_the_files_below_their_directories() {
        let entry = Entry { path: "a/b/c".to_owned(), mode: 0o755, content: b"x".to_vec() };
        let bytes = archive(&[entry]).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths, ["tmp", "home", "home/runner", "a", "a/b", "a/b/c"]);
    }

    #[test]
    fn the_name_follows_the_content() {
        let entry =
            |content: &str| [Entry { path: "a".to_owned(), mode: 0o755, content: content.into() }];
        assert_eq!(hash(&entry("x")), hash(&entry("x")));
        assert_ne!(hash(&entry("x")), hash(&entry("y")));
    }
}
