//! The archives on this disk: whole and checked, or not there.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use dayfly_github::{Downloader, OfferedProgram};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
    time::timeout,
};

use super::archive::{Archive, order};

/// How long a download may take: 200 MB over a line of 1 Mbit/s.
const DOWNLOAD_TIME: Duration = Duration::from_secs(30 * 60);

/// What a file that is being written ends with.
const PART: &str = "part";

/// What the name of a mark begins with that says since when a version is the newest.
const SEEN: &str = "seen-";

/// How much is written, or read for its sum, at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A directory of archives from one server of GitHub's.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    architecture: &'static str,
}

impl Cache {
    /// For archives of programs for processors of an architecture.
    pub fn new(directory: PathBuf, architecture: &'static str) -> Self {
        Self { directory, architecture }
    }

    /// Every archive that holds what it should: each is read whole. What holds something else is removed, and so is what a
    /// crash left half written long ago. Takes a second for each.
    pub fn verified(&self) -> io::Result<Vec<Archive>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let file = entry?.path();
            match Archive::named(&file, self.architecture) {
                Some(archive) if sum_of(&file)? == archive.sha256 => found.push(archive),
                Some(_) => {
                    tracing::warn!(file = %file.display(), "a runner program was changed on the disk: it is fetched anew");
                    fs::remove_file(&file)?;
                }
                None if is_left_over(&file) => fs::remove_file(&file)?,
                None => {}
            }
        }
        Ok(found)
    }

    /// Fetches a program that must have a sum. An error says what failed, on what, and what to do.
    pub async fn fetch(
        &self,
        downloader: &Downloader,
        program: &OfferedProgram,
        sha256: &str,
    ) -> Result<Archive, String> {
        let archive =
            Archive::in_directory(&self.directory, self.architecture, &program.version, sha256);
        // Another process of ours may fetch the same.
        let part = archive.file.with_extension(format!("{}.{PART}", std::process::id()));
        let fetched = timeout(DOWNLOAD_TIME, self.write(downloader, program, &part)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            Err(format!("it is not here after {} minutes", DOWNLOAD_TIME.as_secs() / 60))
        });
        let fetched = match fetched {
            Ok(sum) if sum == sha256 => self.put_in_place(&part, &archive.file).await,
            Ok(sum) => Err(format!("it has the SHA-256 {sum}, and not {sha256}: it is not used")),
            Err(error) => Err(error),
        };
        if fetched.is_err() {
            let _ = tokio::fs::remove_file(&part).await;
        }
        fetched.map(|()| archive).map_err(|error| format!("fetch the {program}: {error}"))
    }

    async fn write(
        &self,
        downloader: &Downloader,
        program: &OfferedProgram,
        part: &Path,
    ) -> Result<String, String> {
        let failed = |error: io::Error| format!("write {}: {error}", part.display());
        tokio::fs::create_dir_all(&self.directory).await.map_err(failed)?;
        let mut download = downloader.begin(program).await.map_err(|error| error.to_string())?;
        let file = File::create(part).await.map_err(failed)?;
        let (mut file, mut sum) = (BufWriter::with_capacity(BLOCK_BYTES, file), Sha256::new());
        while let Some(bytes) = download.next().await.map_err(|error| error.to_string())? {
            sum.update(&bytes);
            file.write_all(&bytes).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.into_inner().sync_all().await.map_err(failed)?;
        Ok(in_hexadecimal(&sum.finalize()))
    }

    async fn put_in_place(&self, part: &Path, file: &Path) -> Result<(), String> {
        let put = async {
            tokio::fs::rename(part, file).await?;
            File::open(&self.directory).await?.sync_all().await
        };
        put.await.map_err(|error| format!("write {}: {error}", file.display()))
    }

    /// Removes the archives that nobody wants any more.
    pub fn keep_only(&self, kept: &[Archive]) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let file = entry?.path();
            if Archive::named(&file, self.architecture)
                .is_some_and(|archive| !kept.contains(&archive))
            {
                fs::remove_file(&file)?;
            }
        }
        Ok(())
    }

    /// Notes that a version was seen to be the newest, where that is not known yet.
    pub fn note_seen(&self, version: &str) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        match fs::File::create_new(self.directory.join(format!("{SEEN}{version}"))) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// When a newer version than an archive's was seen for the first time, as far as this disk knows.
    pub fn newer_since(&self, archive: &Archive) -> io::Result<Option<Timestamp>> {
        let mut since: Option<Timestamp> = None;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(SEEN));
            if version.is_some_and(|version| order(version) > archive.order()) {
                let seen =
                    Timestamp::try_from(entry.metadata()?.modified()?).map_err(io::Error::other)?;
                since = Some(since.map_or(seen, |first| first.min(seen)));
            }
        }
        Ok(since)
    }
}

/// Whether a file is what a crash left half written: another process may still write a younger one.
fn is_left_over(file: &Path) -> bool {
    let age = || fs::metadata(file).ok()?.modified().ok()?.elapsed().ok();
    file.extension().is_some_and(|known| known == PART)
        && age().is_some_and(|age| age > DOWNLOAD_TIME)
}

fn sum_of(file: &Path) -> io::Result<String> {
    let (mut file, mut sum) = (fs::File::open(file)?, Sha256::new());
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(in_hexadecimal(&sum.finalize())),
            read => sum.update(&block[..read]),
        }
    }
}

fn in_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_its_sum_is_used() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("github.com"), "x64");
        assert_eq!(cache.verified().unwrap(), [], "nothing was made yet");
        fs::create_dir(&cache.directory).unwrap();
        let sum = in_hexadecimal(&Sha256::digest("whole"));
        let put = |version: &str, content: &str| {
            let archive = Archive::in_directory(&cache.directory, "x64", version, &sum);
            fs::write(&archive.file, content).unwrap();
            archive
        };
        let (good, other) = (put("2.330.0", "whole"), put("2.331.0", "whole"));
        let changed = put("2.332.0", "whol");
        let part = cache.directory.join("a.tar.7.part");
        fs::write(&part, "half").unwrap();
        let being_written = cache.directory.join("a.tar.8.part");
        fs::write(&being_written, "half").unwrap();
        let back = std::time::SystemTime::UNIX_EPOCH;
        fs::File::open(&part).unwrap().set_modified(back).unwrap();
        let mut found = cache.verified().unwrap();
        found.sort_by_key(Archive::order);
        assert_eq!(found, [good.clone(), other.clone()]);
        assert!(!changed.file.exists() && !part.exists() && being_written.exists());
        cache.keep_only(std::slice::from_ref(&good)).unwrap();
        assert!(good.file.exists() && !other.file.exists());
    }

    #[test]
    fn the_first_of_the_newer_versions_counts() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("github.com"), "x64");
        let archive =
            |version: &str| Archive::in_directory(&cache.directory, "x64", version, "sum");
        cache.note_seen("2.330.0").unwrap();
        let seen = |version: &str| cache.directory.join(format!("{SEEN}{version}"));
        let back = std::time::SystemTime::UNIX_EPOCH;
        fs::File::open(seen("2.330.0")).unwrap().set_modified(back).unwrap();
        let first = cache.newer_since(&archive("2.99.1")).unwrap().unwrap();
        // Seen again, and followed by another one, it is as old as it was.
        cache.note_seen("2.330.0").unwrap();
        cache.note_seen("2.331.0").unwrap();
        assert_eq!(cache.newer_since(&archive("2.99.1")).unwrap(), Some(first));
        assert!(cache.newer_since(&archive("2.330.0")).unwrap() > Some(first));
        assert_eq!(cache.newer_since(&archive("2.331.0")).unwrap(), None);
    }
}
