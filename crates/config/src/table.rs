//! A mapping whose keys are known: typed values out of it, and an error for everything else.

use std::ops::{Range, RangeInclusive};

use crate::{
    mask::visible,
    problem::Problems,
    yaml::{Kind, Node, Value},
};

/// The keys of one kind of mapping.
#[derive(Debug)]
pub(crate) struct Keys {
    /// What the mapping is, as the reference calls it.
    pub what: &'static str,
    /// Its keys.
    pub known: &'static [&'static str],
    /// Keys that the reference does not show.
    pub hidden: &'static [&'static str],
    /// Keys of a later version.
    pub later: &'static [&'static str],
    /// Keys that people write for another, and the remedy.
    pub instead: &'static [(&'static str, &'static str)],
}

impl Keys {
    fn has(&self, key: &str) -> bool {
        self.known.contains(&key) || self.hidden.contains(&key)
    }
}

/// A text of the user's and its place.
#[derive(Debug, Clone)]
pub(crate) struct Text<'n> {
    pub text: &'n str,
    pub span: &'n Range<usize>,
}

/// A mapping, looked at.
#[derive(Debug)]
pub(crate) struct Table<'n> {
    keys: &'static Keys,
    /// Where it begins: its first key.
    pub span: Range<usize>,
    entries: &'n [(Node, Node)],
}

impl<'n> Table<'n> {
    /// Takes a node for a mapping with such keys; reports every other key.
    pub fn of(node: &'n Node, keys: &'static Keys, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.error(
                &node.span,
                format!("{} is a mapping, not {}", keys.what, node.word()),
                format!(
                    "write `key: value` pairs, such as `{}: …`",
                    keys.known.first().unwrap_or(&"key")
                ),
            );
            return None;
        };
        for (key, _) in entries {
            report_unknown(key, keys, problems);
        }
        let span = entries.first().map_or(node.span.clone(), |(key, _)| key.span.clone());
        Some(Self { keys, span, entries })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        debug_assert!(self.keys.has(key), "{key} is not a key");
        self.entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str, remedy: &str, problems: &mut Problems) -> Option<&'n Node> {
        let node = self.get(key);
        if node.is_none() {
            problems.error(&self.span, format!("{} has no `{key}`", self.keys.what), remedy);
        }
        node
    }

    /// A text that is not empty.
    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<Text<'n>> {
        text(self.get(key)?, &format!("`{key}`"), problems)
    }

    /// A text that is not empty, as an owned one.
    pub fn string(&self, key: &str, problems: &mut Problems) -> Option<String> {
        self.text(key, problems).map(|text| text.text.to_owned())
    }

    /// `true` or `false`; `false` where the key is not there.
    pub fn flag(&self, key: &str, problems: &mut Problems) -> bool {
        match self.get(key) {
            None => false,
            Some(Node { value: Value::Scalar { kind: Kind::Bool(flag), .. }, .. }) => *flag,
            Some(node) => {
                problems.error(
                    &node.span,
                    format!("`{key}` is true or false, not {}", shown(node)),
                    "write true or false",
                );
                false
            }
        }
    }

    /// A whole number.
    pub fn number(
        &self,
        key: &str,
        allowed: RangeInclusive<i64>,
        problems: &mut Problems,
    ) -> Option<i64> {
        let node = self.get(key)?;
        let number = match &node.value {
            Value::Scalar { text, kind: Kind::Number } => {
                text.parse().ok().filter(|number| allowed.contains(number))
            }
            _ => None,
        };
        if number.is_none() {
            problems.error(
                &node.span,
                format!("`{key}` is a whole number, not {}", shown(node)),
                format!("write a number from {} to {}", allowed.start(), allowed.end()),
            );
        }
        number
    }

    /// A count from 0 on.
    pub fn count(&self, key: &str, max: u32, problems: &mut Problems) -> Option<u32> {
        self.number(key, 0..=i64::from(max), problems).and_then(|number| u32::try_from(number).ok())
    }

    /// A value that `read` understands, or says what it wants instead.
    pub fn parsed<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key, problems)?;
        match read(text.text) {
            Ok(value) => Some(value),
            Err(remedy) => {
                problems.error(
                    text.span,
                    format!("`{key}` can't be `{}`", visible(text.text)),
                    remedy,
                );
                None
            }
        }
    }

    /// The nodes of a list; none where the key is not there.
    pub fn list(&self, key: &str, problems: &mut Problems) -> &'n [Node] {
        match self.get(key) {
            None => &[],
            Some(Node { value: Value::List(nodes), .. }) => nodes,
            Some(node) => {
                problems.error(
                    &node.span,
                    format!("`{key}` is a list, not {}", node.word()),
                    format!(
                        "begin each entry with a dash on a line of its own, or write `{key}: [ … ]`"
                    ),
                );
                &[]
            }
        }
    }

    /// A list of texts that are not empty.
    pub fn texts(&self, key: &str, problems: &mut Problems) -> Vec<Text<'n>> {
        let what = format!("an entry of `{key}`");
        self.list(key, problems).iter().filter_map(|node| text(node, &what, problems)).collect()
    }

    /// A list of texts that are not empty, as owned ones.
    pub fn strings(&self, key: &str, problems: &mut Problems) -> Vec<String> {
        self.texts(key, problems).into_iter().map(|text| text.text.to_owned()).collect()
    }

    /// The entries of a mapping whose keys are the user's own; none where the key is not there.
    pub fn map(&self, key: &str, problems: &mut Problems) -> Vec<(Text<'n>, &'n Node)> {
        match self.get(key) {
            None => Vec::new(),
            Some(Node { value: Value::Map(entries), .. }) => {
                let what = format!("a key of `{key}`");
                entries
                    .iter()
                    .filter_map(|(name, value)| Some((text(name, &what, problems)?, value)))
                    .collect()
            }
            Some(node) => {
                problems.error(
                    &node.span,
                    format!("`{key}` is a mapping, not {}", node.word()),
                    format!("write `{key}: {{ name: value }}`, or a line for each"),
                );
                Vec::new()
            }
        }
    }

    /// Whether every key in it is known: a missing one is not just misspelt.
    pub fn is_known(&self) -> bool {
        self.present().count() == self.entries.len()
            && self.present().all(|key| self.keys.has(key.text))
    }

    /// The keys that stand in it, with their places.
    pub fn present(&self) -> impl Iterator<Item = Text<'n>> {
        self.entries
            .iter()
            .filter_map(|(key, _)| key.text().map(|text| Text { text, span: &key.span }))
    }
}

/// A scalar that is not empty, as text.
pub(crate) fn text<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<Text<'n>> {
    match node.text() {
        Some(text) if !text.is_empty() => Some(Text { text, span: &node.span }),
        Some(_) => {
            problems.error(
                &node.span,
                format!("{what} is empty"),
                "write a value, or leave it out",
            );
            None
        }
        None => {
            problems.error(
                &node.span,
                format!("{what} is text, not {}", node.word()),
                "write one value",
            );
            None
        }
    }
}

/// A value within a sentence.
fn shown(node: &Node) -> String {
    node.text().map_or_else(|| node.word().to_owned(), |text| format!("`{}`", visible(text)))
}

fn report_unknown(key: &Node, keys: &Keys, problems: &mut Problems) {
    let Some(name) = key.text() else {
        problems.error(
            &key.span,
            format!("a key of {} is text, not {}", keys.what, key.word()),
            "write a name",
        );
        return;
    };
    if keys.has(name) {
        return;
    }
    let shown = visible(name);
    if keys.later.contains(&name) {
        problems.error(&key.span, format!("`{shown}` is not in this version"), "remove it");
    } else if let Some((_, remedy)) = keys.instead.iter().find(|(wrong, _)| *wrong == name) {
        problems.error(&key.span, format!("{} has no key `{shown}`", keys.what), *remedy);
    } else {
        let remedy = did_you_mean(name, keys.known.iter().copied())
            .unwrap_or_else(|| format!("the keys are `{}`", keys.known.join("`, `")));
        problems.error(&key.span, format!("{} has no key `{shown}`", keys.what), remedy);
    }
}

/// "did you mean `…`?", where a known name is near.
pub(crate) fn did_you_mean<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    const NAME_CHARS_MAX: usize = 100;
    let name: String =
        name.chars().take(NAME_CHARS_MAX).collect::<String>().to_lowercase().replace('-', "_");
    let plain = |known: &str| known.replace('-', "_");
    known
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&name, &plain(known));
            // Who writes the beginning of a word means the word: `env` is `environment`.
            let begins = name.len() >= 3
                && (plain(known).starts_with(&name) || name.starts_with(&plain(known)));
            (if begins { 1 } else { distance }, known)
        })
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| format!("did you mean `{known}`?"))
}
