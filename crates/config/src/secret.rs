//! Secrets by reference: where one lies, and how it is read when it is needed.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use secrecy::{SecretString, zeroize::Zeroizing};

/// GitHub's keys and tokens have at most a few KiB.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// systemd's directory of credentials (`LoadCredential=`, systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// `file:PATH`, readable by its owner alone.
    File(PathBuf),
    /// `env:NAME`
    Env(String),
    /// `credential:NAME`, of systemd.
    Credential(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// A secret that could not be read. Shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret {reference}: {problem}; {remedy}")]
pub struct SecretError {
    /// Which.
    pub reference: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// The environment's variables.
pub trait Environment {
    /// The value of a variable.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl SecretRef {
    /// Reads `file:PATH` (relative to `base`), `env:NAME` or `credential:NAME`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str, base: &Path) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let word =
            |extra: &str| rest.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        match scheme {
            "file" if !rest.is_empty() => Some(Self::File(base.join(rest))),
            "env"
                if !rest.is_empty()
                    && word("_")
                    && !rest.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                Some(Self::Env(rest.to_owned()))
            }
            // A file's name in one directory.
            "credential" if !rest.trim_matches('.').is_empty() && word("_-.") => {
                Some(Self::Credential(rest.to_owned()))
            }
            _ => None,
        }
    }

    /// Reads the secret; a newline at its end does not belong to it.
    ///
    /// # Errors
    /// Where it is missing, empty, no text, larger than 64 KiB, or a file that others can read.
    pub fn resolve(&self, environment: &dyn Environment) -> Result<SecretString, SecretError> {
        let text = match self {
            Self::File(path) => self.read(path, true)?,
            Self::Env(name) => {
                let value = environment.var(name).ok_or_else(|| {
                    self.error("the variable is not set", format!("set {name} for the daemon"))
                })?;
                // An invalid value is dropped unread.
                let value = value
                    .into_string()
                    .map_err(|_| self.error("it is not UTF-8", "store it as text"))?;
                Zeroizing::new(value)
            }
            Self::Credential(name) => {
                let directory = environment.var(CREDENTIALS_DIRECTORY).ok_or_else(|| {
                    let problem = format!("{CREDENTIALS_DIRECTORY} is not set");
                    self.error(
                        problem,
                        format!("add LoadCredential={name}:PATH to the systemd unit"),
                    )
                })?;
                // systemd sets the modes there: another user's access is by an ACL that shows as the group's.
                self.read(&Path::new(&directory).join(name), false)?
            }
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(self.error("it is empty", "write the secret into it"));
        }
        Ok(secret.into())
    }

    fn read(&self, path: &Path, owner_alone: bool) -> Result<Zeroizing<String>, SecretError> {
        let failed = |error: std::io::Error| {
            self.error(
                error.to_string(),
                format!("let the user that runs dayfly read {}", path.display()),
            )
        };
        // Before it is opened: opening a pipe would wait for its other end.
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(self.error("it is not a regular file", "name a file"));
        }
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if owner_alone && mode & 0o077 != 0 {
            let problem = format!("others than its owner can use it (mode {mode:04o})");
            return Err(self.error(problem, format!("run `chmod 600 {}`", path.display())));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 << 10));
        file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > SECRET_BYTES_MAX) {
            return Err(
                self.error("it is larger than 64 KiB", "name the file that holds the secret alone")
            );
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| self.error("it is not UTF-8", "store it as text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn error(&self, problem: impl Into<String>, remedy: impl Into<String>) -> SecretError {
        SecretError { reference: self.to_string(), problem: problem.into(), remedy: remedy.into() }
    }
}

/// The token for the one scope without `auth`: `given` (`--token`), else `GITHUB_TOKEN`, else
/// `$CREDENTIALS_DIRECTORY/github-token`; `None` where there is none of them.
///
/// # Errors
/// Where the one that is there can't be used.
pub fn default_token(
    given: Option<SecretString>,
    environment: &dyn Environment,
) -> Result<Option<SecretString>, SecretError> {
    const VARIABLE: &str = "GITHUB_TOKEN";
    const CREDENTIAL: &str = "github-token";
    if given.is_some() {
        return Ok(given);
    }
    if environment.var(VARIABLE).is_some() {
        return SecretRef::Env(VARIABLE.to_owned()).resolve(environment).map(Some);
    }
    match environment.var(CREDENTIALS_DIRECTORY) {
        Some(directory) if Path::new(&directory).join(CREDENTIAL).exists() => {
            SecretRef::Credential(CREDENTIAL.to_owned()).resolve(environment).map(Some)
        }
        _ => Ok(None),
    }
}
