//! A remote server: over HTTPS that both ends prove, and with a certificate that is restricted to a project.

use std::process::Command;

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdRemote, LxdServer};
use dayfly_core::{
    model::ControllerId,
    ports::{Backend, BackendErrorKind},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::server::{Sweep, cli, contract, image};
use crate::suite::{self, controller};

/// A certificate that the server trusts for as long as this lives.
struct Trusted {
    certificate: String,
    key: String,
    name: String,
}

impl Trusted {
    fn stranger() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["dayfly".to_owned()]).unwrap().self_signed(&key).unwrap();
        let name = format!("dayfly-test-{}", suffix());
        Self { certificate: certificate.pem(), key: key.serialize_pem(), name }
    }

    fn new(more: &[&str]) -> Self {
        let trusted = Self::stranger();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("client.crt");
        std::fs::write(&file, &trusted.certificate).unwrap();
        let file = file.display().to_string();
        let words = ["config", "trust", "add", &file, "--name", &trusted.name];
        cli(&[&words, more].concat());
        trusted
    }

    fn remote(&self, server_certificate: Option<String>) -> LxdServer {
        LxdServer::Remote(LxdRemote {
            url: format!("https://{}", address()),
            client_certificate: self.certificate.clone(),
            client_key: self.key.clone().into(),
            server_certificate,
        })
    }

    fn connect(&self, project: Option<&str>, controller: ControllerId) -> Lxd {
        let server = self.remote(Some(server_certificate()));
        let project = project.map(str::to_owned);
        Lxd::connect(&LxdOptions { server, project, target: None }, controller).unwrap()
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        let listed = cli(&["query", "/1.0/certificates?recursion=1"]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        for known in listed.iter().filter(|known| known["name"] == self.name.as_str()) {
            cli(&["config", "trust", "remove", known["fingerprint"].as_str().unwrap()]);
        }
    }
}

/// Eight characters that nobody else has.
fn suffix() -> String {
    controller().0.simple().to_string().chars().take(8).collect()
}

/// Where the server listens; the tests give it a place where it has none.
fn address() -> String {
    let address = || cli(&["config", "get", "core.https_address"]).trim().to_owned();
    if address().is_empty() {
        cli(&["config", "set", "core.https_address", "127.0.0.1:8443"]);
    }
    address()
}

fn server_certificate() -> String {
    let server: Value = serde_json::from_str(&cli(&["query", "/1.0"])).unwrap();
    server["environment"]["certificate"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_remote_server_keeps_the_contract() {
    let sweep = Sweep::default();
    image();
    let trusted = Trusted::new(&[]);
    let connect = |controller| {
        sweep.note(controller);
        trusted.connect(None, controller)
    };
    suite::check(connect, &contract()).await;
}

/// A project of a test's own.
struct Project(String);

impl Project {
    fn new() -> Self {
        let name = format!("dayfly-test-{}", suffix());
        cli(&["project", "create", &name, "-c", "features.images=false", "-c", "restricted=true"]);
        let root = ["root", "disk", "path=/", "pool=default"];
        cli(&[&["profile", "device", "add", "--project", &name, "default"], &root[..]].concat());
        Self(name)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = Command::new("lxc").args(["project", "delete", &self.0]).output();
    }
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_restricted_certificate_keeps_the_contract_in_its_project() {
    image();
    let project = Project::new();
    let sweep = Sweep::within(&project.0);
    let trusted = Trusted::new(&["--restricted", "--projects", &project.0]);
    let connect = |controller| {
        sweep.note(controller);
        trusted.connect(Some(&project.0), controller)
    };
    suite::check(connect, &contract()).await;

    let outside = trusted.connect(None, controller()).list().await.unwrap_err();
    assert_eq!(outside.kind, BackendErrorKind::NotAllowed, "{outside}");
    assert!(outside.detail.contains("config trust add"), "{outside}");
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_server_that_is_not_proven_is_not_spoken_to() {
    let trusted = Trusted::new(&[]);
    let list = async |server: LxdServer| {
        let options = LxdOptions { server, ..LxdOptions::default() };
        Lxd::connect(&options, controller()).unwrap().list().await
    };
    let proven = trusted.remote(Some(server_certificate()));
    assert_eq!(list(proven).await, Ok(Vec::new()));

    // Another server's certificate, and one that only the authorities of this machine could vouch for.
    for certificate in [Some(Trusted::stranger().certificate.clone()), None] {
        let error = list(trusted.remote(certificate)).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable, "{error}");
        assert!(error.detail.to_lowercase().contains("certificate"), "{error}");
    }
    // A client that the server does not know.
    let stranger = Trusted::stranger().remote(Some(server_certificate()));
    assert_eq!(list(stranger).await.unwrap_err().kind, BackendErrorKind::NotAllowed);
}
