//! The hidden sub-command: a server that ends on a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;

use crate::http_face::serve;
use crate::options::{Options, SimConfig};

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listening socket.
    #[error("failed to listen on {address}; choose a free port with `--listen`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file that tells the port.
    #[error("failed to write the port file {path}")]
    PortFile {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The signal handlers.
    #[error("failed to wait for signals")]
    Signal(#[source] std::io::Error),
}

/// Settings of the hidden sub-command.
#[derive(Debug, Clone)]
pub struct SimArgs {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// File that gets the port number once the server answers.
    pub port_file: Option<PathBuf>,
    /// Seed of all ids.
    pub seed: u64,
    /// Durations and limits.
    pub options: Options,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// When the address cannot be bound, the port file cannot be written, or signals cannot be caught.
pub async fn run(args: SimArgs) -> Result<(), ServeError> {
    let address = args.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let server = serve(listener, SimConfig { seed: args.seed, options: args.options })
        .map_err(|source| ServeError::Listen { address, source })?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(ServeError::Signal)?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(ServeError::Signal)?;
    if let Some(path) = args.port_file {
        // Renamed into place, so that a reader never sees a part of it.
        let temporary = path.with_extension("new");
        let written =
            match tokio::fs::write(&temporary, format!("{}\n", server.address().port())).await {
                Ok(()) => tokio::fs::rename(&temporary, &path).await,
                Err(error) => Err(error),
            };
        written.map_err(|source| ServeError::PortFile { path, source })?;
    }
    tracing::info!(address = %server.address(), "simulated GitHub listens");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}
