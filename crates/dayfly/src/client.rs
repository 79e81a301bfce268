//! The daemon, seen through its socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dayfly_server::ErrorBody;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::{Code, Failure};

/// Above the time-out that the daemon itself sets for an answer, so that its words come through.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);

/// Speaks with the daemon behind a socket.
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(socket: &Path) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .timeout(ANSWER_PATIENCE)
            .no_proxy()
            .build();
        let http = http.map_err(|error| {
            Failure::new(Code::Failed, format!("the client could not be made: {error}"))
        })?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// Asks for something.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let query: String =
            query.iter().map(|(key, value)| format!("?{key}={}", encoded(value))).collect();
        self.send(self.http.request(Method::GET, format!("http://dayfly{path}{query}"))).await
    }

    /// Asks for something to be done. `path` is given by its parts, which may be what somebody typed.
    pub async fn send_to<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let path: String = path.iter().map(|part| format!("/{}", encoded(part))).collect();
        self.send(self.http.request(method, format!("http://dayfly{path}")).json(body)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failure> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            let odd = |error| {
                Failure::new(Code::Failed, format!("the daemon's answer can't be read: {error}"))
            };
            let hint = "the client and the daemon may be of different versions";
            return serde_json::from_slice(&body).map_err(|error| odd(error).hint(hint));
        }
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => Failure::new(code(status), error.message).hint(error.hint),
            Err(_) => Failure::new(Code::Failed, format!("the daemon answered {status}")),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let socket = self.socket.display();
        if error.is_timeout() {
            return Failure::new(
                Code::NoDaemon,
                format!("the daemon behind {socket} gave no answer in time"),
            )
            .hint("look at its log");
        }
        let mut why: &dyn std::error::Error = error;
        while let Some(cause) = why.source() {
            why = cause;
        }
        Failure::new(Code::NoDaemon, format!("no daemon answers on {socket}: {why}")).hint(
            "start one by `dayfly run -c FILE`, or name its socket by --socket or $DAYFLY_SOCKET",
        )
    }
}

fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Code::NoDaemon,
        StatusCode::INSUFFICIENT_STORAGE => Code::Store,
        _ => Code::Failed,
    }
}

/// A text as part of an address: all but letters, digits and `-._` as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_people_stay_within_their_place() {
        let check = |text: &str, expected: &str| assert_eq!(encoded(text), expected);
        check("linux-small", "linux-small");
        check("../version", "..%2Fversion");
        check(
            "https://github.com/a/b/actions/runs/1?x=y#z",
            "https%3A%2F%2Fgithub.com%2Fa%2Fb%2Factions%2Fruns%2F1%3Fx%3Dy%23z",
        );
        check("ä", "%C3%A4");
    }

    #[tokio::test]
    async fn a_missing_daemon_is_told_with_its_exit_code() {
        let socket = Path::new("/nonexistent/dayfly.sock");
        let failure = Client::new(socket)
            .unwrap()
            .get::<serde_json::Value>("/v1/status", &[])
            .await
            .unwrap_err();
        assert_eq!(failure.code(), Code::NoDaemon);
        assert!(failure.to_string().contains("/nonexistent/dayfly.sock"), "{failure}");
    }
}
