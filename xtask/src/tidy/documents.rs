//! Documents must not lie: every relative link in them leads to a file, and every anchor to a heading.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::metadata::root;

/// Every link that leads nowhere.
pub fn faults(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in
        files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md"))
    {
        let text = std::fs::read_to_string(root().join(file))?;
        for link in links(&text) {
            if let Some(fault) = broken(file, link) {
                faults.push(format!("{}: link `{link}`: {fault}", file.display()));
            }
        }
    }
    Ok(faults)
}

/// The targets of `[text](target)`, but for those within code fences.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, tail)) = after.split_once(')') else { break };
            links.push(target);
            rest = tail;
        }
    }
    links
}

/// What is wrong with a link in `file`; links to other sites are not followed.
fn broken(file: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) =
        link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let directory = file.parent().unwrap_or(Path::new(""));
    let target =
        if path.is_empty() { root().join(file) } else { root().join(directory).join(path) };
    if !target.exists() {
        return Some("no such file".to_owned());
    }
    let anchor = anchor?;
    let text = std::fs::read_to_string(&target).ok()?;
    (!headings(&text).any(|heading| heading == anchor)).then(|| "no such heading".to_owned())
}

/// The headings as GitHub spells their anchors.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed() {
        let check = |link: &str, expected: bool| {
            assert_eq!(broken(Path::new("README.md"), link).is_none(), expected, "{link}");
        };
        check("https://example.org/x", true);
        check("LICENSE", true);
        check("docs/no-such-page.md", false);
        check("README.md#no-such-heading", false);
    }

    #[test]
    fn links_in_code_are_none() {
        assert_eq!(links("see [a](x) and [b](y#z)\n```\n[c](no)\n```\n"), ["x", "y#z"]);
        assert_eq!(headings("# A `b` c\ntext\n## D-e\n").collect::<Vec<_>>(), ["a-b-c", "d-e"]);
    }
}
