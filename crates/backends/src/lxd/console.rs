//! What an instance's runner said: from the file that its keeper writes, and, once it has ended, from the console.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::time::sleep;

use super::{
    client::{Body, Client},
    error::Failed,
    files,
    guest::{self, CONSOLE, KEEPER, LAST, PROVISIONED, SETUP, TAIL},
};
use crate::console::{LastLines, Lines};

/// How much is read for the last lines: ten times what the keeper leaves of the output, which is the instance's own to
/// write.
const BYTES_MAX: usize = 4 << 20;

/// How much of a console is read: LXC keeps its last 128 KiB.
const CONSOLE_BYTES_MAX: usize = 256 << 10;

/// From one look at a console that has not been written down yet to the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// By what the keeper says that what follows is the beginning of what its runner said, and the rest, and how that ended.
const SAID: &str = "dayfly: the runner said";
const AND_LAST: &str = "dayfly: and at last";
const EXIT: &str = "dayfly: exit ";

/// How an instance ended, as its keeper said on the console.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: i64,
    /// What its runner said: the beginning and the end of it.
    said: Vec<String>,
}

impl Ending {
    fn read(console: &[u8]) -> Option<Self> {
        let (mut text, mut lines) = (Lines::default(), Vec::new());
        text.push(console, |line| lines.push(line));
        // The last one is the keeper's own: it says nothing after it.
        let end = lines.iter().rposition(|line| line.starts_with(EXIT))?;
        let code = lines[end][EXIT.len()..].parse().ok()?;
        // The first is its own too; where the console has lost it, so has it what was before.
        let begin = lines[..end].iter().position(|line| line == SAID).map_or(0, |line| line + 1);
        let mut said: Vec<String> = lines.drain(begin..end).collect();
        // An empty line is its own too, before each of its words.
        said.pop_if(|line| line.is_empty());
        if let Some(rest) = said.iter().rposition(|line| line == AND_LAST) {
            said.remove(rest);
            if rest > 0 && said[rest - 1].is_empty() {
                said.remove(rest - 1);
            }
        }
        Some(Self { code, said })
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.said.iter().map(String::as_str)
    }

    /// The last lines of it.
    pub(super) fn last(mut self, lines: usize) -> Vec<String> {
        self.said.drain(..self.said.len().saturating_sub(lines));
        self.said
    }
}

/// What an ended instance's keeper said at its end; `None` where it said nothing. The server shows the console from a file of
/// its own: it need not reach for the instance's disk. LXC writes that file when all else of the instance has gone, which is
/// after the server tells that it ended: an empty one is waited for, since the keeper says something when it begins. How long,
/// is the caller's to say.
pub(super) async fn ending(client: &Client, instance: &str) -> Result<Option<Ending>, Failed> {
    let url = client.url(&format!("/1.0/instances/{instance}/console"), &[]);
    loop {
        let asked = client.exchange(Method::GET, url.clone(), Body::Nothing, CONSOLE_BYTES_MAX);
        let (status, text) = asked.await?;
        if status != StatusCode::OK {
            return Ok(None);
        }
        if !text.is_empty() {
            return Ok(Ending::read(&text));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// The last lines that an instance's runner said.
pub(super) async fn last(
    client: &Client,
    instance: &str,
    ended: bool,
    lines: usize,
) -> Result<Vec<String>, Failed> {
    if !ended {
        return Ok(cut(&guest::output(client, instance, LAST, BYTES_MAX).await?, lines));
    }
    first_of(client, instance, &[TAIL, CONSOLE, KEEPER], lines).await
}

/// The last lines of what an instance was about that did not get ready in time: the keeper copies them to the console only
/// once that has ended.
pub(super) async fn unfinished(
    client: &Client,
    instance: &str,
    lines: usize,
) -> Result<Vec<String>, Failed> {
    first_of(client, instance, &[PROVISIONED, SETUP], lines).await
}

/// The last lines of the first file that has any.
async fn first_of(
    client: &Client,
    instance: &str,
    files: &[&str],
    lines: usize,
) -> Result<Vec<String>, Failed> {
    for file in files {
        let text = files::read(client, instance, file, BYTES_MAX).await?.unwrap_or_default();
        if !text.is_empty() {
            return Ok(cut(&text, lines));
        }
    }
    Ok(Vec::new())
}

fn cut(text: &[u8], lines: usize) -> Vec<String> {
    let (mut cut, mut last) = (Lines::default(), LastLines::new(lines));
    cut.push(text, |line| last.push(line));
    cut.finish().into_iter().for_each(|line| last.push(line));
    last.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_from_the_console() {
        let check = |console: &str, expected: Option<(i64, &[&str])>| {
            let read = Ending::read(console.as_bytes()).map(|ending| (ending.code, ending.said));
            let expected = expected.map(|(code, said)| {
                (code, said.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
            });
            assert_eq!(read, expected, "{console:?}");
        };
        check("", None);
        check("Welcome to Debian!\r\n", None);
        check("dayfly: ready\r\n", None);
        check(
            "dayfly: the runner said\r\n1\r\n2\r\n\r\ndayfly: and at last\r\n8\r\n\r\ndayfly: exit 0\r\n",
            Some((0, &["1", "2", "8"])),
        );
        check("dayfly: and at last\r\n8\r\n\r\ndayfly: exit 0\r\n", Some((0, &["8"])));
        let whole = "\r\ndayfly: the runner said\r\none\r\n\r\ntwo\r\n\r\ndayfly: exit 7\r\n";
        check(whole, Some((7, &["one", "", "two"])));
        check(&format!("dayfly: ready\r\n{whole}Powering off\r\n"), Some((7, &["one", "", "two"])));
        check("he end of it\r\n\r\ndayfly: exit 0\r\n", Some((0, &["he end of it"])));
        // What a runner says of the kind is its own word.
        check(
            "dayfly: the runner said\ndayfly: exit 0\ndayfly: the runner said\n\ndayfly: exit 1\n",
            Some((1, &["dayfly: exit 0", "dayfly: the runner said"])),
        );
        check("dayfly: the runner said\n\ndayfly: exit x\n", None);
        // A line that is still being written is none yet.
        check("dayfly: the runner said\n\ndayfly: exit 1", None);
    }
}
