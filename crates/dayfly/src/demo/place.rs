//! The demo's own directory: configuration, token, store, sockets, logs. It goes with the demo.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::arguments::{Demo, DemoBackend};

/// The demo's only pool, and its label.
pub const POOL: &str = "demo";

/// A directory that only its owner may enter, removed when it is dropped.
pub struct Place(PathBuf);

/// What of the configuration depends on the backend.
pub struct Making {
    /// What makes the instances.
    pub backend: DemoBackend,
    /// The pool's image.
    pub image: String,
}

impl Place {
    /// Makes it. Its path is short, because a socket's must be.
    pub fn make() -> Result<Self> {
        let name = format!(
            "dayfly-demo-{:08x}",
            getrandom::u32().context("ask the system for randomness")?
        );
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    /// The one that another process made.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The daemon's configuration, once it is written.
    pub fn config(&self) -> PathBuf {
        self.file("dayfly.yaml")
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a new file.
    pub fn write(&self, name: &str, mode: u32, content: &str) -> Result<PathBuf> {
        let path = self.file(name);
        let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        open.and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// The directory of a runner program, for processes: what GitHub's image has, here the stand-in.
    pub fn runner_program(&self, program: &Path) -> Result<PathBuf> {
        let directory = self.file("runner");
        DirBuilder::new()
            .mode(0o755)
            .create(&directory)
            .with_context(|| format!("make {}", directory.display()))?;
        let script = format!("#!/bin/sh\nexec {} runner-stub run \"$@\"\n", quoted(program));
        self.write("runner/run.sh", 0o755, &script)?;
        Ok(directory)
    }

    /// The daemon's configuration.
    pub fn configuration(
        &self,
        options: &Demo,
        scope_url: &str,
        making: &Making,
    ) -> Result<PathBuf> {
        let Demo { max, warm, .. } = options;
        let Making { backend, image } = making;
        let pull = if *backend == DemoBackend::Docker { "\n    pull: never" } else { "" };
        let text = format!(
            "github: [{{ url: \"{scope_url}\" }}]\n\
             backends: {{ here: {{ {backend}: {{}} }} }}\n\
             pools:\n  - name: {POOL}\n    labels: [{POOL}]\n    demand: scale-set\n    backends: [here]\n    image: \"{image}\"{pull}\n    \
             environment: {{ RUNNER_ALLOW_RUNASROOT: \"1\" }}\n    max: {max}\n    warm: {warm}\n\
             store: {{ sqlite: dayfly.db }}\n",
            backend = backend.key(),
        );
        self.write("dayfly.yaml", 0o600, &text)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The demo and its guard both see to it.
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl DemoBackend {
    /// As the configuration calls it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}

/// A path as one word of a shell's line.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_the_daemon_reads() {
        let place = Place::make().unwrap();
        let options =
            Demo { jobs: 1, max: 3, warm: 2, backend: None, seconds_per_job: 0, once: true };
        for (backend, image) in
            [(DemoBackend::Docker, "dayfly-demo:abc"), (DemoBackend::Process, "/tmp/x")]
        {
            let making = Making { backend, image: image.to_owned() };
            let path = place.configuration(&options, "http://127.0.0.1:1/demo", &making).unwrap();
            let config = dayfly_config::load(&path).unwrap();
            assert_eq!(config.spec.pools.len(), 1);
            assert_eq!(config.store, place.file("dayfly.db"));
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
