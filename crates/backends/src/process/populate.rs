//! Copying GitHub's runner program into an instance.

use std::{fs, io, os::unix::fs::symlink, path::Path};

/// How many levels of directories are followed: the runner program has about ten.
const DEPTH_MAX: u32 = 64;

/// Copies a tree. Files are hard links where both ends are on one file system, which takes no room and next to no
/// time; the runner program replaces its files and does not write into them. Not symbolic links: .NET programs look for
/// their parts where such a link leads.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    copy(from, to, DEPTH_MAX)
}

fn copy(from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is too deep", from.display()),
        ));
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target, depth - 1)?;
            continue;
        }
        // The crash that leads here left the tree half copied. What is there goes first: it may be a link to the very
        // original, which a copy onto it would empty.
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() && fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/a"), "a").unwrap();
        symlink("bin/a", from.join("link")).unwrap();
        symlink("/nowhere", from.join("broken")).unwrap();
        copy_tree(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "a");
        assert_eq!(fs::read_link(to.join("broken")).unwrap(), Path::new("/nowhere"));
        // Again, as after a crash in the middle: nothing is lost, the original above all.
        copy_tree(&from, &to).unwrap();
        for tree in [&from, &to] {
            assert_eq!(fs::read_to_string(tree.join("bin/a")).unwrap(), "a");
        }
        assert!(copy_tree(&home.path().join("absent"), &to).is_err());
    }
}
