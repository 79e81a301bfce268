//! The `docker` program's contexts: files below its configuration directory, read and never written.
//!
//! Their form: <https://docs.docker.com/engine/manage-resources/contexts/>.

use std::path::{Path, PathBuf};

use dayfly_core::ports::BackendError;
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::endpoint::{Endpoint, Surroundings, TlsFiles, wrong};

/// No file of the `docker` program comes near this size, in bytes.
const FILE_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct CurrentContext {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints")]
    endpoints: MetaEndpoints,
}

#[derive(Deserialize)]
struct MetaEndpoints {
    docker: MetaDocker,
}

#[derive(Deserialize)]
struct MetaDocker {
    #[serde(rename = "Host")]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The name of the context that `docker context use` chose, if it chose one.
pub(super) fn current(around: &Surroundings) -> Option<String> {
    let file = around.config_directory.as_ref()?.join("config.json");
    let current: CurrentContext = read_json(&file).ok()?;
    current.current_context.filter(|name| !name.is_empty())
}

/// The engine of a context.
pub(super) fn read(name: &str, around: &Surroundings) -> Result<Endpoint, BackendError> {
    if name == "default" {
        return Ok(Endpoint::default());
    }
    let unreadable =
        |what: &str| wrong(&format!("context `{name}`: {what}; see `docker context ls`"));
    let directory =
        around.config_directory.as_ref().ok_or_else(|| unreadable("no home directory is known"))?;
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let contexts = directory.join("contexts");
    let meta: Meta = read_json(&contexts.join("meta").join(&digest).join("meta.json"))
        .map_err(|error| unreadable(&error))?;
    let docker = meta.endpoints.docker;
    if docker.skip_tls_verify {
        return Err(unreadable(
            "it leaves the engine's certificate unchecked, so that anyone could be the engine",
        ));
    }
    let tls: PathBuf = contexts.join("tls").join(&digest).join("docker");
    let tls = tls.join("ca.pem").is_file().then(|| TlsFiles::in_directory(&tls));
    Endpoint::parse(&docker.host, tls)
}

/// Reads a JSON file of the `docker` program; the error names the file.
pub(super) fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, String> {
    let shown = file.display();
    let size = std::fs::metadata(file).map_err(|error| format!("{shown}: {error}"))?.len();
    if size > FILE_MAX {
        return Err(format!("{shown} is too large"));
    }
    let bytes = std::fs::read(file).map_err(|error| format!("{shown}: {error}"))?;
    // The parser's words would quote the file, which may hold passwords.
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("{shown} is not understood, line {}", error.line()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::docker::endpoint::DockerOptions;

    #[test]
    fn a_context_names_its_engine_and_certificates() {
        let home = tempfile::tempdir().unwrap();
        let around = Surroundings {
            config_directory: Some(home.path().to_owned()),
            ..Surroundings::default()
        };
        // sha256 of "rack1"
        let digest: String =
            Sha256::digest("rack1").iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = home.path().join("contexts/meta").join(&digest);
        let tls = home.path().join("contexts/tls").join(&digest).join("docker");
        fs::create_dir_all(&meta).unwrap();
        let write = |text: &str| fs::write(meta.join("meta.json"), text).unwrap();
        let find = |options: &DockerOptions| Endpoint::resolve(options, &around);
        let named = DockerOptions { context: Some("rack1".to_owned()), ..DockerOptions::default() };

        write(
            r#"{"Name":"rack1","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://rack1:2376"}}}"#,
        );
        assert_eq!(
            find(&named).unwrap(),
            Endpoint::Tcp { authority: "rack1:2376".to_owned(), tls: None }
        );

        fs::create_dir_all(&tls).unwrap();
        fs::write(tls.join("ca.pem"), "").unwrap();
        let files = Some(TlsFiles::in_directory(&tls));
        let secured = Endpoint::Tcp { authority: "rack1:2376".to_owned(), tls: files };
        assert_eq!(find(&named).unwrap(), secured);

        assert_eq!(find(&DockerOptions::default()).unwrap(), Endpoint::default());
        fs::write(home.path().join("config.json"), r#"{"currentContext":"rack1"}"#).unwrap();
        assert_eq!(find(&DockerOptions::default()).unwrap(), secured);

        write(r#"{"Endpoints":{"docker":{"Host":"tcp://rack1:2376","SkipTLSVerify":true}}}"#);
        assert!(find(&named).unwrap_err().detail.contains("unchecked"));
        write("{");
        assert!(find(&named).unwrap_err().detail.contains("not understood"));
        let other =
            DockerOptions { context: Some("../../etc".to_owned()), ..DockerOptions::default() };
        assert!(find(&other).unwrap_err().detail.contains("context `../../etc`"));
    }
}
