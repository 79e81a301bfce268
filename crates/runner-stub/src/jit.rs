//! The just-in-time configuration: three files in one blob. It is a credential: it never reaches output, log or error.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::key::{Key, Use};

/// Largest blob that is read: the real one has about 4 KiB.
const BLOB_BYTES_MAX: usize = 64 * 1024;

/// Files of the blob, as the runner writes them into its root.
const FILES: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];

/// What is wrong with a configuration. Never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// Not base64, not JSON, or too large.
    #[error("the JIT configuration is not base64 of JSON")]
    Blob,
    /// A file is missing in it, or is not what it should be.
    #[error("the JIT configuration has no usable file `{file}`")]
    File {
        /// Its name.
        file: &'static str,
    },
    /// A member of a file is missing.
    #[error("`{file}` in the JIT configuration has no usable `{member}`")]
    Member {
        /// The file.
        file: &'static str,
        /// The member.
        member: &'static str,
    },
    /// The files could not be written.
    #[error("failed to write the runner's configuration into its root directory")]
    Write(#[source] std::io::Error),
    /// The asynchronous runtime did not start.
    #[error("failed to start the runner")]
    Start(#[source] std::io::Error),
}

/// A decoded configuration.
pub struct JitConfig {
    /// The runner's name.
    pub agent_name: String,
    /// The broker, with a slash at the end.
    pub server_url: String,
    /// Folder of the jobs below the root, or absolute.
    pub work_folder: String,
    pub(crate) client_id: String,
    pub(crate) authorization_url: String,
    pub(crate) key: Key,
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl std::fmt::Debug for JitConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitConfig").field("agent_name", &self.agent_name).finish_non_exhaustive()
    }
}

/// A member by its name without case; numbers and flags become text, as the runner's own parser does.
pub(crate) fn text(value: &Value, name: &str) -> Option<String> {
    let (_, found) = value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    match found {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(found.to_string()),
        _ => None,
    }
}

impl JitConfig {
    /// Decodes a blob, for a process that plays many runners.
    ///
    /// # Errors
    /// When it is not base64 of JSON, or a file or member that the runner needs is missing.
    pub fn decode(blob: &str) -> Result<Self, JitError> {
        Self::decode_for(blob, Use::Often)
    }

    pub(crate) fn decode_for(blob: &str, used: Use) -> Result<Self, JitError> {
        let blob = blob.trim();
        if blob.len() > BLOB_BYTES_MAX {
            return Err(JitError::Blob);
        }
        let outer = STANDARD.decode(blob).map_err(|_| JitError::Blob)?;
        let outer: Value = serde_json::from_slice(&outer).map_err(|_| JitError::Blob)?;
        let mut files = BTreeMap::new();
        let mut read = |file: &'static str| -> Result<Value, JitError> {
            let bytes = text(&outer, file)
                .and_then(|text| STANDARD.decode(text).ok())
                .ok_or(JitError::File { file })?;
            let value = serde_json::from_slice(&bytes).map_err(|_| JitError::File { file })?;
            files.insert(file, bytes);
            Ok(value)
        };
        let [runner, credentials, params] = [read(FILES[0])?, read(FILES[1])?, read(FILES[2])?];
        let member = |value: &Value, file, member| {
            text(value, member)
                .filter(|text| !text.is_empty())
                .ok_or(JitError::Member { file, member })
        };
        let data = credentials
            .as_object()
            .and_then(|all| all.iter().find(|(key, _)| key.eq_ignore_ascii_case("data")))
            .map(|(_, data)| data);
        let data = data.ok_or(JitError::Member { file: FILES[1], member: "data" })?;
        let server_url = member(&runner, FILES[0], "ServerUrlV2")
            .or_else(|_| member(&runner, FILES[0], "ServerUrl"))?;
        Ok(Self {
            agent_name: member(&runner, FILES[0], "AgentName")?,
            server_url,
            work_folder: text(&runner, "WorkFolder")
                .filter(|folder| !folder.is_empty())
                .unwrap_or_else(|| "_work".to_owned()),
            client_id: member(data, FILES[1], "clientId")?,
            authorization_url: text(data, "authorizationUrlV2")
                .map_or_else(|| member(data, FILES[1], "authorizationUrl"), Ok)?,
            key: Key::read(&params, used)?,
            files,
        })
    }

    /// Writes the three files into the runner's root, for the owner's eyes only.
    pub(crate) fn write(&self, root: &Path) -> Result<(), JitError> {
        for (name, bytes) in &self.files {
            // Made anew, so that an existing file's looser mode does not stay.
            let path = root.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(JitError::Write(error));
                }
                _ => {}
            }
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(JitError::Write)?;
            file.write_all(bytes).map_err(JitError::Write)?;
        }
        Ok(())
    }

    /// Removes the files again, when the server has ended the registration.
    pub(crate) fn forget(root: &Path) {
        for name in FILES {
            // One that is gone already is as good.
            drop(std::fs::remove_file(root.join(name)));
        }
    }
}
