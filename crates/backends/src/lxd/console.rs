//! What an instance's runner said: from the file that its keeper writes.

use super::{
    client::Client,
    error::Failed,
    files,
    guest::{self, CONSOLE, KEEPER, LAST, PROVISIONED, SETUP, TAIL},
};
use crate::console::{LastLines, Lines};

/// How much is read for the last lines: ten times what the keeper leaves of the output, which is the instance's own to
/// write.
const BYTES_MAX: usize = 4 << 20;

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
