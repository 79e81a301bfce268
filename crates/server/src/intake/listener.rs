//! Accepts connections, within bounds, and ends them in order.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use dayfly_engine::Handle;
use dayfly_github::WebhookSecrets;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    addresses::Allowed,
    answer::Desk,
    certificate::{Certificate, CertificateError, LOOK_EVERY},
};

/// Connections that are served at once. GitHub keeps some dozens open; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 512;

/// How long TLS may take to be set up.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long the head of a request may take, and how long a connection may stay open without one.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How much a head may have: GitHub's have about 1 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long a connection may last, however busy it is: so that none is for ever.
const CONNECTION_TIME: Duration = Duration::from_secs(600);

/// How long answers under way may take at the end.
const LAST_ANSWERS_TIME: Duration = Duration::from_secs(2);

/// How long to wait after the system refused a connection (out of file descriptors), so as not to spin.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// What the endpoint is like.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The certificate that it shows; `None`: plain HTTP, for a proxy on this machine.
    pub tls: Option<TlsFiles>,
    /// How webhooks are taken; `None`: they are not.
    pub webhook: Option<WebhookOptions>,
}

/// The PEM files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How webhooks are taken.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// What they are signed with.
    pub secrets: WebhookSecrets,
    /// Where they may come from.
    pub allowed: Allowed,
    /// Proxies that are believed when they tell whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
}

/// The endpoint can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The address.
    #[error("cannot listen on {address}; choose another `server.listen`, or end what has it")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// An open endpoint, which nobody serves yet.
#[derive(Debug)]
pub struct Intake {
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
    acceptor: Option<Acceptor>,
    webhook: Option<WebhookOptions>,
}

/// `TlsAcceptor` does not print.
#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Intake {
    /// Reads the certificate and takes the address.
    ///
    /// # Errors
    /// Where either can't be had.
    pub async fn open(options: IntakeOptions) -> Result<Self, IntakeError> {
        let address = options.listen;
        let failed = |source| IntakeError::Listen { address, source };
        let certificate = options.tls.map(Certificate::load).transpose()?;
        let acceptor = match &certificate {
            Some(certificate) => Some(Acceptor(Arc::new(certificate.server_config()?).into())),
            None => None,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, certificate, acceptor, webhook: options.webhook })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves the endpoint until `ending`; then finishes the answers under way.
pub async fn serve_intake(intake: Intake, handle: Handle, ending: CancellationToken) {
    let Intake { listener, certificate, acceptor, webhook, .. } = intake;
    let desk = Arc::new(Desk::new(handle, webhook));
    let mut connections = JoinSet::new();
    let mut look = interval(LOOK_EVERY);
    loop {
        // Each is cancel safe.
        tokio::select! {
            biased;
            () = ending.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = look.tick(), if certificate.is_some() => {
                if let Some(certificate) = &certificate {
                    certificate.look();
                }
            }
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        desk: Arc::clone(&desk),
                        peer: peer.ip(),
                        ending: ending.clone(),
                    };
                    connections.spawn(connection.begin(stream, acceptor.clone()));
                }
                Err(error) => {
                    warn!(%error, "a connection was refused by the system; raise the limit of open files (`ulimit -n`)");
                    sleep(ACCEPT_WAIT).await;
                }
            },
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_ANSWERS_TIME, finished).await.is_err() {
        debug!("connections are cut: the daemon ends");
    }
}

struct Connection {
    desk: Arc<Desk>,
    peer: IpAddr,
    ending: CancellationToken,
}

impl Connection {
    async fn begin(self, stream: TcpStream, acceptor: Option<Acceptor>) {
        // Answers are small and written whole.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Some(Acceptor(acceptor)) = acceptor else { return self.serve(stream).await };
        match timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => debug!(%error, peer = %self.peer, "no TLS could be agreed on"),
            Err(_) => debug!(peer = %self.peer, "TLS took too long"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (desk, peer) = (self.desk, self.peer);
        let service = service_fn(move |request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(desk.answer(peer, request).await) }
        });
        let mut served = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
        );
        // The connection itself is not dropped here: it goes on below.
        let ended = tokio::select! {
            ended = served.as_mut() => Some(ended),
            () = self.ending.cancelled() => None,
            () = sleep(CONNECTION_TIME) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, %peer, "a connection broke");
        }
    }
}
