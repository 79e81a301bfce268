//! A remote engine, over TCP and over TLS that both ends prove. The engine is the real one, behind a relay.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use dayfly_backends::docker::{Docker, DockerOptions, TlsFiles};
use dayfly_core::{
    model::ControllerId,
    ports::{Backend, BackendErrorKind},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};
use tokio_util::task::TaskTracker;

use super::engine::{Sweep, cli, contract};
use crate::suite::{self, controller};

/// Carries connections to the engine's socket.
async fn relay(tls: Option<TlsAcceptor>, tasks: &TaskTracker) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            connections.spawn(async move {
                match tls {
                    None => carry(stream).await,
                    // A client that proves nothing gets no further.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            carry(stream).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn carry(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let mut engine = UnixStream::connect(socket).await.unwrap();
    // Either end may break off.
    let _ = copy_bidirectional(&mut stream, &mut engine).await;
}

/// An authority with a server's and a client's certificate, as files.
struct Authority {
    home: TempDir,
}

impl Authority {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(home.path().join(name), text).unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", authority.pem());
        for (name, usage) in [
            ("server", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &authority).unwrap().pem());
            write(&format!("{name}-key.pem"), key.serialize_pem());
        }
        Self { home }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn client(&self) -> TlsFiles {
        TlsFiles {
            ca: self.path("ca.pem"),
            certificate: self.path("client.pem"),
            key: self.path("client-key.pem"),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let certificate = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path("ca.pem"))).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![certificate(&self.path("server.pem"))],
                PrivateKeyDer::from_pem_file(self.path("server-key.pem")).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn remote(address: SocketAddr, tls: Option<TlsFiles>, controller: ControllerId) -> Docker {
    let options =
        DockerOptions { host: Some(format!("tcp://{address}")), tls, ..DockerOptions::default() };
    Docker::connect(&options, controller).unwrap()
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn a_remote_engine_keeps_the_contract() {
    let sweep = Sweep::default();
    sweep.ready().await;
    let tasks = TaskTracker::new();
    let authority = Authority::new();
    let address = relay(Some(authority.acceptor()), &tasks).await;
    let connect = |controller| {
        sweep.connect(controller);
        remote(address, Some(authority.client()), controller)
    };
    suite::check(connect, &contract()).await;

    let plain = relay(None, &tasks).await;
    assert_eq!(remote(plain, None, controller()).list().await, Ok(Vec::new()));
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn an_engine_that_is_not_proven_is_not_spoken_to() {
    cli(&["version"]);
    let tasks = TaskTracker::new();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address = relay(Some(authority.acceptor()), &tasks).await;
    let list =
        async |tls: Option<TlsFiles>| remote(address, tls, controller()).list().await.unwrap_err();

    let untrusted = list(Some(stranger.client())).await;
    assert_eq!(untrusted.kind, BackendErrorKind::Unreachable, "{untrusted}");
    assert!(untrusted.detail.contains("certificate"), "{untrusted}");
    let unproven = TlsFiles { ca: authority.path("ca.pem"), ..stranger.client() };
    assert_eq!(list(Some(unproven)).await.kind, BackendErrorKind::Unreachable);
    assert_eq!(list(None).await.kind, BackendErrorKind::Unreachable);

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = remote(nobody, None, controller()).list().await.unwrap_err();
    assert_eq!(refused.kind, BackendErrorKind::Unreachable);
    assert!(refused.detail.contains("refused"), "{refused}");
    drop(TcpStream::connect(address).await);
}
