//! Reading an instance's console file: its last lines, and what is added to it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::console::{LastLines, Lines};

/// How many bytes at the end are searched for the last lines: 200 lines of 500 characters of at most four bytes.
const LAST_BYTES: u64 = 400_000;

/// How long a console file may grow, in bytes, before it is emptied. GitHub's runner writes a few hundred.
const FILE_MAX: u64 = 4 << 20;

/// The last lines of a file; none where it can't be read.
pub(super) fn last(file: &Path, lines: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LAST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let (mut cut, mut last) = (Lines::default(), LastLines::new(lines));
    cut.push(&read().unwrap_or_default(), |line| last.push(line));
    cut.finish().into_iter().for_each(|line| last.push(line));
    last.into_vec()
}

/// Reads a file that grows, from its beginning.
#[derive(Debug, Default)]
pub(super) struct Tail {
    offset: u64,
    lines: Lines,
}

impl Tail {
    /// Gives each line that was added and completed since the last time.
    pub(super) fn read(&mut self, path: &Path, mut line: impl FnMut(&str)) {
        // A console that can't be read tells nothing; the end is told by the process.
        let Ok(file) = File::open(path) else { return };
        if file.metadata().is_ok_and(|metadata| metadata.len() < self.offset) {
            self.offset = 0;
        }
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = file.read_at(&mut bytes, self.offset) {
            self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            self.lines.push(&bytes[..count], |text| line(&text));
        }
        if self.offset > FILE_MAX {
            // Who writes to it appends, and goes on from the new end.
            match fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(0)) {
                Ok(()) => self.offset = 0,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the console could not be emptied");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_growing_file_is_read_once_and_kept_small() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("console.log");
        let mut tail = Tail::default();
        let read = |tail: &mut Tail| {
            let mut lines = Vec::new();
            tail.read(&path, |line| lines.push(line.to_owned()));
            lines
        };
        assert!(read(&mut tail).is_empty(), "absent");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(read(&mut tail), ["one"]);
        file.write_all(b"o\n").unwrap();
        assert_eq!(read(&mut tail), ["two"]);
        let size = usize::try_from(FILE_MAX).unwrap();
        file.write_all(&vec![b'x'; size]).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        assert_eq!(read(&mut tail).last().unwrap(), "last");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        file.write_all(b"after\n").unwrap();
        assert_eq!(read(&mut tail), ["after"]);
        assert_eq!(last(&path, 5), ["after"]);
    }
}
