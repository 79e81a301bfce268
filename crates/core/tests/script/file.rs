//! A script file: commands, and below each what came of it, indented by two spaces.

/// One line of a script that is no output.
#[derive(Debug)]
pub struct Line {
    /// The text: a command, a comment (`#`) or nothing.
    pub text: String,
    /// The recorded output.
    pub output: Vec<String>,
}

impl Line {
    /// Whether it is a command.
    pub fn is_command(&self) -> bool {
        !self.text.is_empty() && !self.text.starts_with('#')
    }
}

/// Reads a script.
pub fn parse(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for text in text.lines() {
        match (text.strip_prefix("  "), lines.last_mut()) {
            (Some(output), Some(line)) => line.output.push(output.to_owned()),
            _ => lines.push(Line { text: text.trim_end().to_owned(), output: Vec::new() }),
        }
    }
    lines
}

/// Writes a script.
pub fn render(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text);
        text.push('\n');
        for output in &line.output {
            text.push_str("  ");
            text.push_str(output);
            text.push('\n');
        }
    }
    text
}
