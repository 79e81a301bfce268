//! A container's output: two streams of bytes in one, cut into lines each by itself.

use bollard::{
    Docker as Client, container::LogOutput, errors::Error, query_parameters::LogsOptionsBuilder,
};
use futures_util::TryStreamExt;

use crate::console::{LastLines, Lines};

/// How many pieces are asked for in place of a line: the engine cuts a long line into pieces of 16 KiB and counts them.
const PIECES: usize = 10;

/// The lines of both streams.
#[derive(Debug, Default)]
pub(super) struct Output {
    out: Lines,
    err: Lines,
}

impl Output {
    /// Takes more output, and gives each line that it completes.
    pub(super) fn push(&mut self, chunk: LogOutput, line: impl FnMut(String)) {
        let lines =
            if matches!(chunk, LogOutput::StdErr { .. }) { &mut self.err } else { &mut self.out };
        lines.push(&chunk.into_bytes(), line);
    }

    /// The lines that no newline ended.
    fn finish(&mut self) -> impl Iterator<Item = String> {
        self.out.finish().into_iter().chain(self.err.finish())
    }
}

/// The last lines of a container's output.
pub(super) async fn last(
    client: &Client,
    container: &str,
    lines: usize,
) -> Result<Vec<String>, Error> {
    let pieces = (lines * PIECES).to_string();
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&pieces).build();
    let (mut output, mut last) = (Output::default(), LastLines::new(lines));
    let mut chunks = client.logs(container, Some(options));
    while let Some(chunk) = chunks.try_next().await? {
        output.push(chunk, |line| last.push(line));
    }
    output.finish().for_each(|line| last.push(line));
    Ok(last.into_vec())
}
