//! GitHub's runner program on its way into an instance: from a file here, without a network on the instance's side.

use std::path::Path;

use dayfly_core::{
    model::{InstanceSpec, ProgramState},
    ports::{BackendError, BackendErrorKind},
};
use tokio::fs::File;

use super::{client::Client, files};
use crate::failure::failure;

/// Where the archive is put; the keeper takes it from there.
const ARCHIVE: &str = "/.dayfly-program.tar.gz";

/// The archive that is to be put into an instance; `None` where the image has the program.
///
/// # Errors
/// Where it is not at hand: then no instance is worth making.
pub(super) fn archive(spec: &InstanceSpec) -> Result<Option<&Path>, BackendError> {
    let program = spec.lxd.as_ref().and_then(|lxd| lxd.program.as_ref());
    match program.map(|program| &program.state) {
        None => Ok(None),
        Some(ProgramState::Ready { file, .. }) => Ok(Some(file)),
        Some(ProgramState::Missing { why }) => {
            Err(failed(&format!("the runner program is not at hand: {why}")))
        }
    }
}

/// Puts an archive into a running instance. What an earlier call put there is written over.
pub(super) async fn put(
    client: &Client,
    instance: &str,
    archive: &Path,
) -> Result<(), BackendError> {
    let unreadable = |error: std::io::Error| failed(&format!("{}: {error}", archive.display()));
    let file = File::open(archive).await.map_err(unreadable)?;
    let told = |failed: &super::error::Failed| {
        failed.changing(format!("put the runner program into {instance}"), &client.address)
    };
    files::put_large(client, instance, ARCHIVE, file).await.map_err(|failed| told(&failed))
}

fn failed(detail: &str) -> BackendError {
    // The pool's own trouble: the server has no part in it.
    failure(BackendErrorKind::ImageMissing, "read the runner program", detail)
}

#[cfg(test)]
mod tests {
    use dayfly_core::model::{LxdSpec, Program};

    use super::*;

    #[test]
    fn what_is_not_at_hand_is_said_with_its_reason() {
        let of = |state: Option<ProgramState>| {
            let program = state.map(|state| Program { state, ..Program::wanted(None, None) });
            let lxd = LxdSpec { program, ..LxdSpec::default() };
            InstanceSpec { lxd: Some(lxd), ..InstanceSpec::default() }
        };
        assert_eq!(archive(&InstanceSpec::default()).unwrap(), None);
        assert_eq!(archive(&of(None)).unwrap(), None);
        let why = "GitHub does not answer".to_owned();
        let error = archive(&of(Some(ProgramState::Missing { why }))).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::ImageMissing);
        assert!(error.to_string().contains("GitHub does not answer"), "{error}");
        let ready = of(Some(ProgramState::Ready {
            version: "2.330.0".to_owned(),
            sha256: "0".repeat(64),
            file: "/cache/a".into(),
            refused_from: None,
        }));
        assert_eq!(archive(&ready).unwrap(), Some(Path::new("/cache/a")));
    }
}
