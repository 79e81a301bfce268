//! Names that dayfly takes, made of names that it does not.

/// The longest name of a pool (docs/config.md).
const LENGTH_MAX: usize = 48;

/// A lower-case letter, then letters, digits and dashes, none at the end; `fallback` where nothing is left of it.
pub fn name(wanted: &str, fallback: &str) -> String {
    let mut name = String::new();
    for char in wanted.chars() {
        if char.is_ascii_alphanumeric() {
            name.push(char.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name: String = name
        .trim_start_matches(|char: char| !char.is_ascii_lowercase())
        .chars()
        .take(LENGTH_MAX)
        .collect();
    let name = name.trim_end_matches('-');
    if name.len() < 2 { fallback.to_owned() } else { name.to_owned() }
}

/// The name itself, or with the first number behind it that makes it a new one.
pub fn free(name: &str, taken: &[&str]) -> String {
    if !taken.contains(&name) {
        return name.to_owned();
    }
    let mut number = 2_u32;
    loop {
        let end = format!("-{number}");
        let kept: String = name.chars().take(LENGTH_MAX - end.len()).collect();
        let numbered = format!("{}{end}", kept.trim_end_matches('-'));
        if !taken.contains(&numbered.as_str()) {
            return numbered;
        }
        number += 1;
    }
}

/// Labels as dayfly takes them: `self-hosted` is every pool's, each label once, without case.
pub fn labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for label in labels {
        let same = |known: &String| known.eq_ignore_ascii_case(label);
        if !label.eq_ignore_ascii_case("self-hosted") && !kept.iter().any(same) {
            kept.push(label.to_owned());
        }
    }
    kept
}
