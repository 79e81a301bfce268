//! The server's stream of events: a WebSocket.

use std::time::Duration;

use dayfly_core::ports::{BackendError, BackendErrorKind};
use futures_util::{StreamExt, stream::Stream};
use reqwest::StatusCode;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    client::Client,
    error::{Failed, chain},
    wire::Event,
};
use crate::failure::failure;

/// How long the server may take to begin the stream.
const BEGIN_TIME: Duration = Duration::from_secs(30);

/// The longest event that is read: an event holds the command that was run in an instance.
const EVENT_MAX: usize = 1 << 20;

/// A WebSocket's key proves to a server that its client speaks the protocol, and is no secret: RFC 6455's own example.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What happens to the project's instances, from now on. Ends where the stream does.
pub(super) async fn lifecycle(
    client: &Client,
) -> Result<impl Stream<Item = Result<Event, BackendError>> + Unpin + use<>, BackendError> {
    let address = client.address.clone();
    let request = client
        .upgrade("/1.0/events", &[("type", "lifecycle")])
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY);
    let begin = async {
        let answer =
            request.send().await.map_err(|error| Failed::Unsent(chain(&error.without_url())))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = answer.status().as_u16();
            return Err(Failed::Refused { status, words: "it gives no events".to_owned() });
        }
        answer.upgrade().await.map_err(|error| Failed::Unsent(chain(&error.without_url())))
    };
    let operation = "follow the server's events";
    let begun = tokio::time::timeout(BEGIN_TIME, begin)
        .await
        .unwrap_or_else(|_| Err(Failed::Unsent("no answer in time".to_owned())));
    let upgraded = begun.map_err(|failed| failed.reading(operation, &address))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(EVENT_MAX))
        .max_frame_size(Some(EVENT_MAX));
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
    let broken = move |words: String| {
        failure(BackendErrorKind::Unreachable, operation, format!("{address}: {words}"))
    };
    // A ping is answered by the stream itself, whenever it is read.
    Ok(Box::pin(stream.filter_map(move |message| {
        let told = match message {
            Ok(Message::Text(text)) => match serde_json::from_str::<Event>(text.as_str()) {
                Ok(event) => Some(Ok(event)),
                Err(error) => Some(Err(broken(format!("an event is not LXD's: {error}")))),
            },
            Ok(Message::Close(_)) => Some(Err(broken("it closed the stream".to_owned()))),
            Ok(_) => None,
            Err(error) => Some(Err(broken(chain(&error)))),
        };
        std::future::ready(told)
    })))
}
