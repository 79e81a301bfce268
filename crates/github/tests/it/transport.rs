//! The transport against real sockets.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dayfly_core::ports::{Transport, TransportError};
use dayfly_github::HttpTransport;
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

async fn get(url: &str) -> Result<Response<Bytes>, TransportError> {
    get_trusting(url, None).await
}

async fn get_trusting(
    url: &str,
    authority: Option<&str>,
) -> Result<Response<Bytes>, TransportError> {
    let request = Request::get(url).body(Bytes::new()).unwrap();
    HttpTransport::new(authority.map(str::as_bytes)).unwrap().send(request).await
}

/// A server that reads one request, writes `answer`, and hangs up.
async fn answered(answer: Vec<u8>) -> Result<Response<Bytes>, TransportError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/path?token=hidden", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        // Until the client has hung up too: an early reset could swallow the answer.
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await;
    };
    tokio::join!(get(&url), serve).0
}

#[tokio::test]
async fn nobody_there_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = get(&format!("http://{address}/?token=hidden")).await.unwrap_err();
    let TransportError::Connect { host, detail } = &error else { panic!("{error:?}") };
    assert_eq!(*host, address.to_string());
    assert!(
        detail.to_lowercase().contains("refused") && !error.to_string().contains("hidden"),
        "{error}"
    );
    let error = get("http://host.invalid/").await.unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn no_tls_there_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n").await;
        let _ = stream.read(&mut [0; 4096]).await;
    };
    let error = tokio::join!(get(&url), serve).0.unwrap_err();
    assert!(matches!(error, TransportError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cut_or_odd_answer_is_no_answer() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "nonsense\r\n\r\n",
    ] {
        let error = answered(answer.into()).await.unwrap_err();
        assert!(matches!(error, TransportError::NoAnswer { .. }), "{answer:?}: {error:?}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let mut told = b"HTTP/1.1 200 OK\r\ncontent-length: 30000000\r\n\r\n".to_vec();
    told.extend([b' '; 64]);
    let mut untold = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    untold.resize(26_000_000, b' ');
    for answer in [told, untold] {
        let error = answered(answer).await.unwrap_err();
        assert!(error.to_string().contains("longer than 25000000 bytes"), "{error}");
    }
    let whole = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-y: z\r\n\r\nbody".to_vec())
        .await
        .unwrap();
    assert_eq!(
        (whole.body().as_ref(), whole.headers()["x-y"].as_bytes()),
        (b"body".as_ref(), b"z".as_ref())
    );
}

#[tokio::test]
async fn redirects_are_the_callers_to_follow() {
    let answer =
        answered(b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n".to_vec())
            .await
            .unwrap();
    assert_eq!(answer.status(), 302);
}

#[test]
fn extra_authorities_must_be_certificates() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        let error = HttpTransport::new(Some(pem.as_bytes())).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_server_with_an_authority_of_its_own_is_trusted_by_its_certificate_only() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
    .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async || {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsafe").await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    let pem = authority.pem();
    let url = format!("https://localhost:{port}/");
    let answer = tokio::join!(async { get_trusting(&url, Some(&pem)).await }, serve()).0.unwrap();
    assert_eq!(answer.body().as_ref(), b"safe");
    let unknown = tokio::join!(get(&url), serve()).0.unwrap_err();
    assert!(
        matches!(&unknown, TransportError::Tls { detail, .. } if detail.contains("UnknownIssuer")),
        "{unknown:?}"
    );
    let other_name = format!("https://127.0.0.1:{port}/");
    let wrong = tokio::join!(get_trusting(&other_name, Some(&pem)), serve()).0.unwrap_err();
    assert!(matches!(wrong, TransportError::Tls { .. }), "{wrong:?}");
}
