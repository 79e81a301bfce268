//! One kept-alive connection in plain HTTP, driven by the request that uses it, so that it needs no task.

use std::pin::Pin;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::broker::BrokerError;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Channel {
    /// Whether another request can be sent; the server may have closed an idle connection.
    pub async fn is_usable(&mut self) -> bool {
        tokio::select! {
            biased;
            ready = self.sender.ready() => ready.is_ok(),
            _ = &mut self.connection => false,
        }
    }

    /// Sends a request and reads its answer.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let Self { sender, connection } = self;
        let mut exchange = std::pin::pin!(async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
            Ok((status, body.to_bytes()))
        });
        // The connection makes progress only while it is polled. When it ends first, the answer may still be complete.
        tokio::select! {
            biased;
            result = &mut exchange => result,
            _ = connection => exchange.await,
        }
    }

    /// Connects; `authority` is `host[:port]`.
    pub async fn connect(authority: &str, what: &'static str) -> Result<Self, BrokerError> {
        let address = if authority.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let stream = TcpStream::connect(&address)
            .await
            .map_err(|source| BrokerError::Connect(address.clone(), source))?;
        stream.set_nodelay(true).map_err(|source| BrokerError::Connect(address, source))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|source| BrokerError::Broken(what, source.into()))?;
        Ok(Self { sender, connection: Box::pin(connection) })
    }
}
