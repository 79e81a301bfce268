//! `dayfly backend trust`: a remote LXD or Incus trusts dayfly's certificate, and its own is written down.

use std::{
    io::{BufRead, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Result;
use dayfly_backends::lxd::{self, LxdServer};
use dayfly_config::{BackendConfig, LxdServerConfig};
use dayfly_core::model::BackendName;
use secrecy::SecretString;
use serde_json::json;

use crate::{
    arguments::Trust,
    failure::{Code, Failure},
    run,
};

/// The longest line that is read: a token has some hundred bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Has the server trust us, and writes its certificate to where the configuration looks for it.
pub async fn trust(options: &Trust, json: bool) -> Result<()> {
    let config = run::read(&options.config)?;
    let usage = |words: String| Failure::new(Code::Usage, words);
    let name = BackendName::new(&options.backend)
        .map_err(|_| usage(format!("`{}` is no backend name", options.backend)))?;
    let settings = match config.backends.get(&name) {
        Some(BackendConfig::Lxd(settings)) => settings,
        Some(_) => return Err(usage(format!("backend {name} is no LXD or Incus")).into()),
        None => return Err(usage(format!("the configuration has no backend {name}")).into()),
    };
    let LxdServerConfig::Remote { url, server_certificate, .. } = &settings.server else {
        let message = format!("backend {name} is reached by its socket: it needs no certificate");
        return Err(usage(message).into());
    };
    let mut untrusted = run::lxd_untrusted(&name, settings)?;
    if let (LxdServer::Remote(remote), Some(path)) = (&mut untrusted.server, server_certificate) {
        remote.server_certificate = known(path)?;
    }
    let certificate = lxd::trust(&untrusted, &token()?)
        .await
        .map_err(|error| Failure::new(Code::Backend, format!("backend {name}: {error}")))?;
    if let Some(path) = server_certificate {
        write(path, &certificate)?;
    }
    if json {
        let document =
            json!({ "backend": name.as_str(), "url": url, "server_cert": server_certificate });
        println!("{document}");
    } else {
        println!("{url} trusts dayfly's certificate");
        match server_certificate {
            Some(path) => println!("its own certificate is in {}", path.display()),
            None => println!("this machine's authorities vouch for it: `server_cert` is not set"),
        }
    }
    Ok(())
}

/// The server's certificate, where it was written before.
fn known(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Failure::new(Code::Backend, format!("can't read {}: {error}", path.display())))
        }
    }
}

fn write(path: &Path, certificate: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o644);
    match options.open(path).and_then(|mut file| file.write_all(certificate.as_bytes())) {
        // It is the same one: the server would not have been spoken to otherwise.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        written => written.map_err(|error| {
            let message = format!(
                "the server trusts dayfly; its certificate can't be written to {}: {error}",
                path.display()
            );
            Failure::new(Code::Backend, message)
                .hint("the command can be given again with the same token")
        }),
    }
}

/// A line of stdin: arguments could be read by every user of the machine.
fn token() -> Result<SecretString, Failure> {
    let input = std::io::stdin().lock();
    if input.is_terminal() {
        eprintln!(
            "The token that `lxc config trust add --name dayfly`, or `incus config trust add dayfly`, printed on the server:"
        );
    }
    let mut line = String::new();
    input
        .take(LINE_BYTES_MAX)
        .read_line(&mut line)
        .map_err(|error| Failure::new(Code::Usage, format!("no token can be read: {error}")))?;
    Ok(line.into())
}
