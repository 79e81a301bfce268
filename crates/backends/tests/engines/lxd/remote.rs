//! A remote server: over HTTPS that both ends prove, and with a certificate that is restricted to a project.

use base64::{Engine, engine::general_purpose::STANDARD};
use dayfly_backends::lxd::{Lxd, LxdOptions, LxdRemote, LxdServer, Product, trust};
use dayfly_core::{
    model::ControllerId,
    ports::{Backend, BackendErrorKind},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::server::{Lxc, Sweep, contract, image};
use crate::suite::{self, controller};

/// A certificate that a server trusts for as long as this lives.
pub struct Trusted {
    lxc: Lxc,
    certificate: String,
    key: String,
    name: String,
}

impl Trusted {
    fn stranger(lxc: &Lxc) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["dayfly".to_owned()]).unwrap().self_signed(&key).unwrap();
        let name = format!("dayfly-test-{}", suffix());
        Self { lxc: lxc.clone(), certificate: certificate.pem(), key: key.serialize_pem(), name }
    }

    pub fn new(lxc: &Lxc, more: &[&str]) -> Self {
        let trusted = Self::stranger(lxc);
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("client.crt");
        std::fs::write(&file, &trusted.certificate).unwrap();
        let file = file.display().to_string();
        let add = match lxc.product {
            Product::Lxd => "add",
            Product::Incus => "add-certificate",
        };
        let words = ["config", "trust", add, &file, "--name", &trusted.name];
        lxc.ask(&[&words, more].concat());
        trusted
    }

    fn remote(&self, server_certificate: Option<String>) -> LxdServer {
        LxdServer::Remote(LxdRemote {
            url: format!("https://{}", address(&self.lxc)),
            client_certificate: self.certificate.clone(),
            client_key: self.key.clone().into(),
            server_certificate,
        })
    }

    pub fn connect(&self, project: Option<&str>, controller: ControllerId) -> Lxd {
        let server = self.remote(Some(server_certificate(&self.lxc)));
        let project = project.map(str::to_owned);
        let options = LxdOptions { server, project, ..LxdOptions::default() };
        Lxd::connect(&options, controller).unwrap()
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        let listed = self.lxc.ask(&["query", "/1.0/certificates?recursion=1"]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        for known in listed.iter().filter(|known| known["name"] == self.name.as_str()) {
            let fingerprint = known["fingerprint"].as_str().unwrap();
            self.lxc.ask(&["config", "trust", "remove", fingerprint]);
        }
    }
}

/// Eight characters that nobody else has.
fn suffix() -> String {
    controller().0.simple().to_string().chars().take(8).collect()
}

/// Where the server listens; the tests give it a place where it has none.
fn address(lxc: &Lxc) -> String {
    let address = || lxc.ask(&["config", "get", "core.https_address"]).trim().to_owned();
    if address().is_empty() {
        lxc.ask(&["config", "set", "core.https_address", "127.0.0.1:8443"]);
    }
    address()
}

fn server_certificate(lxc: &Lxc) -> String {
    let server: Value = serde_json::from_str(&lxc.ask(&["query", "/1.0"])).unwrap();
    server["environment"]["certificate"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_remote_server_keeps_the_contract() {
    let (sweep, lxc) = (Sweep::default(), Lxc::default());
    image(&lxc);
    let trusted = Trusted::new(&lxc, &[]);
    let connect = |controller| {
        sweep.note(controller);
        trusted.connect(None, controller)
    };
    suite::check(connect, &contract()).await;
}

/// A project of a test's own, which goes with this.
pub struct Project {
    lxc: Lxc,
    pub name: String,
}

impl Project {
    pub fn new(lxc: &Lxc) -> Self {
        let name = format!("dayfly-test-{}", suffix());
        let settings = ["-c", "features.images=false", "-c", "restricted=true"];
        lxc.ask(&[&["project", "create", &name], &settings[..]].concat());
        let root = ["root", "disk", "path=/", "pool=default"];
        let add = ["profile", "device", "add", "--project", &name, "default"];
        lxc.ask(&[&add, &root[..]].concat());
        Self { lxc: lxc.clone(), name }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.lxc.run(&["project", "delete", &self.name]);
    }
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_restricted_certificate_keeps_the_contract_in_its_project() {
    let lxc = Lxc::default();
    image(&lxc);
    let project = Project::new(&lxc);
    let sweep = Sweep::within(&project.name);
    let trusted = Trusted::new(&lxc, &["--restricted", "--projects", &project.name]);
    let connect = |controller| {
        sweep.note(controller);
        trusted.connect(Some(&project.name), controller)
    };
    suite::check(connect, &contract()).await;

    let outside = trusted.connect(None, controller()).list().await.unwrap_err();
    assert_eq!(outside.kind, BackendErrorKind::NotAllowed, "{outside}");
    assert!(outside.detail.contains("config trust add"), "{outside}");
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_server_that_is_not_proven_is_not_spoken_to() {
    let lxc = Lxc::default();
    let trusted = Trusted::new(&lxc, &[]);
    let list = async |server: LxdServer| {
        let options = LxdOptions { server, ..LxdOptions::default() };
        Lxd::connect(&options, controller()).unwrap().list().await
    };
    let proven = trusted.remote(Some(server_certificate(&lxc)));
    assert_eq!(list(proven).await, Ok(Vec::new()));

    // Another server's certificate, and one that only the authorities of this machine could vouch for.
    for certificate in [Some(Trusted::stranger(&lxc).certificate.clone()), None] {
        let error = list(trusted.remote(certificate)).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable, "{error}");
        assert!(error.detail.to_lowercase().contains("certificate"), "{error}");
    }
    // A client that the server does not know.
    let stranger = Trusted::stranger(&lxc).remote(Some(server_certificate(&lxc)));
    assert_eq!(list(stranger).await.unwrap_err().kind, BackendErrorKind::NotAllowed);
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_token_has_the_server_trust_us_and_tells_its_certificate() {
    trusts_by_token(&Lxc::default()).await;
}

/// What a token does, and what others do not.
pub async fn trusts_by_token(lxc: &Lxc) {
    let us = Trusted::stranger(lxc);
    let named = ["--name", &us.name];
    let named = match lxc.product {
        Product::Lxd => &named[..],
        Product::Incus => &named[1..],
    };
    let add = [&["config", "trust", "add", "--quiet"], named].concat();
    let token = lxc.ask(&[&add[..], &["--restricted", "--projects", "default"]].concat());
    let trust = async |known: Option<String>, token: &str| {
        let options = LxdOptions { server: us.remote(known), ..LxdOptions::default() };
        trust(&options, &token.to_owned().into()).await
    };
    let changed = |key: &str, digits: &str| {
        let plain = STANDARD.decode(token.trim()).unwrap();
        let mut told: Value = serde_json::from_slice(&plain).unwrap();
        told[key] = digits.repeat(32).into();
        STANDARD.encode(told.to_string())
    };
    // One of a server with another certificate: this one is not even told the token.
    let error = trust(None, &changed("fingerprint", "0a")).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unreachable, "{error}");
    let other = Trusted::stranger(lxc).certificate.clone();
    let error = trust(Some(other), &token).await.unwrap_err();
    assert!(error.detail.contains("another certificate"), "{error}");
    let wrong = changed("secret", "0b");
    let error = trust(None, &wrong).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotAllowed, "{error}");
    assert!(!error.detail.contains(&wrong), "{error}");

    let certificate = trust(None, &token).await.unwrap();
    assert_eq!(certificate, server_certificate(lxc));
    // Given again, it is trusted already.
    assert_eq!(trust(Some(certificate.clone()), &token).await.as_ref(), Ok(&certificate));
    assert_eq!(us.connect(Some("default"), controller()).list().await, Ok(Vec::new()));
}
