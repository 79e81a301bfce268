//! Accepts connections and answers one request on each.

use std::{io, time::Duration};

use axum::Router;
use dayfly_engine::Handle;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::UnixStream, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{api, socket::Socket};

/// How many connections are served at once. They are one user's commands; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take over its request's head: local programs need microseconds.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// How long a connection may last: the request's own time-out, and the time to take 10,000 runners off the socket.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// How long answers under way may take at the end.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(2);

/// How long to wait after the system refused a connection (out of file descriptors), so as not to spin.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Serves the API until `ending`; then finishes the answers under way, and removes the socket.
pub async fn serve(socket: Socket, handle: Handle, ending: CancellationToken) {
    let router = api::router(handle);
    let mut connections = JoinSet::new();
    loop {
        // Accepting and joining are cancel safe.
        tokio::select! {
            biased;
            () = ending.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone()));
                }
                Err(error) => accept_failed(&error).await,
            },
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_ANSWERS_MAX, finished).await.is_err() {
        debug!("connections are cut: the daemon ends");
    }
}

async fn accept_failed(error: &io::Error) {
    warn!(%error, "a connection to the socket was refused by the system; raise the limit of open files (`ulimit -n`)");
    tokio::time::sleep(ACCEPT_WAIT).await;
}

/// One request, one answer. Connections cost nothing here, and one that stays open would occupy a place.
async fn connection(stream: UnixStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to the socket broke"),
        Err(_) => debug!("a connection to the socket took too long"),
    }
}
