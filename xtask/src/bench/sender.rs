//! Sends webhooks as fast as they are taken: many connections, each with one delivery under way, over plain HTTP/1.1. It shares the
//! processors with what is measured, so that it does as little as can be: bodies are put together from parts, and no library reads
//! the answers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};

use super::{clock, rig::WEBHOOK_SECRET, simulator::ORGANISATION};

/// Deliveries under way at once: GitHub has many machines that send.
const AT_ONCE: usize = 64;

/// Bytes of a delivery: a queued job's payload at GitHub has about as many.
const PAYLOAD_BYTES: usize = 8 * 1024;

/// What stands for the number of a job.
const NUMBER: u64 = 7_777_777_777;

/// The first number of a job; all have as many digits as [`NUMBER`].
const FIRST: u64 = 1_000_000_000;

/// What each job's deliveries tell of, in order.
const ACTIONS: [&str; 3] = ["queued", "in_progress", "completed"];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends the three deliveries of job after job, none of which a pool can take, for `time`. Gives what each delivery waited for its
/// answer, in milliseconds, and how long it all took, in seconds.
pub fn send(address: SocketAddr, time: Duration) -> Result<(Vec<f64>, f64)> {
    let templates = ACTIONS.map(Template::of);
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let numbers = AtomicU64::new(FIRST);
    let began = clock::now();
    let until = began + time.as_secs_f64();
    let times = thread::scope(|scope| {
        let one = || Connection::open(address)?.send(&templates, &key, &numbers, until);
        let senders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(one)).collect();
        let mut times = Vec::new();
        for sender in senders {
            times.extend(sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
        }
        anyhow::Ok(times)
    })?;
    Ok((times, clock::now() - began))
}

/// A body without the job's number.
struct Template {
    action: &'static str,
    parts: Vec<Vec<u8>>,
}

impl Template {
    fn of(action: &'static str) -> Self {
        let parts = payload(action).split(&NUMBER.to_string()).map(Into::into).collect();
        Self { action, parts }
    }

    /// The request of a job's delivery, signed.
    fn request(&self, number: u64, key: &hmac::Key) -> Vec<u8> {
        let body = self.parts.join(number.to_string().as_bytes());
        let tag = hmac::sign(key, &body);
        let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut request = format!(
            "POST /webhook HTTP/1.1\r\nHost: bench\r\nUser-Agent: GitHub-Hookshot/bench\r\nAccept: */*\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nX-GitHub-Event: workflow_job\r\n\
             X-GitHub-Delivery: {number}-{action}\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\n",
            length = body.len(),
            action = self.action,
        )
        .into_bytes();
        request.extend_from_slice(&body);
        request
    }
}

/// A payload in GitHub's form: most of it is addresses of the repository's parts.
fn payload(action: &str) -> String {
    let conclusion = (action == "completed").then_some("success");
    let name = format!("{ORGANISATION}/app");
    let mut repository = Map::from_iter([("full_name".to_owned(), Value::from(name.as_str()))]);
    let mut payload = Value::Null;
    for part in 0.. {
        payload = json!({
            "action": action,
            "workflow_job": {
                "id": NUMBER, "run_id": NUMBER, "run_attempt": 1, "name": "build", "status": action, "conclusion": conclusion,
                "labels": ["self-hosted", "elsewhere"], "created_at": "2026-01-05T12:00:00Z", "runner_name": null, "steps": [],
            },
            "repository": repository,
        });
        if payload.to_string().len() >= PAYLOAD_BYTES {
            break;
        }
        let address = format!("https://api.github.com/repos/{name}/part_{part}{{/number}}");
        repository.insert(format!("part_{part}_url"), address.into());
    }
    payload.to_string()
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        // GitHub sends from machines of its own: this thread alone gives way to the daemon, as the rest of the load does.
        rustix::process::setpriority_process(None, 10).context("lower a sender's priority")?;
        let stream = TcpStream::connect(address).context("connect to the daemon")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn send(
        mut self,
        templates: &[Template],
        key: &hmac::Key,
        numbers: &AtomicU64,
        until: f64,
    ) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        while clock::now() < until {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            for template in templates {
                let request = template.request(number, key);
                let sent = clock::now();
                self.stream.get_mut().write_all(&request).context("send a delivery")?;
                self.answer().context("the answer of a delivery")?;
                times.push((clock::now() - sent) * 1_000.0);
            }
        }
        Ok(times)
    }

    /// Reads an answer, which must be a good one.
    fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.trim_end().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "it broke off after {status:?}");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if !status.starts_with("HTTP/1.1 200") {
            bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_of_one_job_and_signed() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        for action in ACTIONS {
            let request = String::from_utf8(Template::of(action).request(FIRST, &key)).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let payload: Value = serde_json::from_str(body).unwrap();
            assert_eq!(payload["action"], action);
            assert_eq!(payload["workflow_job"]["id"], FIRST);
            assert!(!body.contains(&NUMBER.to_string()));
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!((PAYLOAD_BYTES..PAYLOAD_BYTES + 200).contains(&body.len()), "{}", body.len());
            let tag = hmac::sign(&key, body.as_bytes());
            let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(head.contains(&format!("sha256={digits}")));
        }
    }
}
