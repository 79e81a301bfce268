//! YAML as a tree whose every node knows its place in the file.
//!
//! The only module that knows the YAML library. A tree, rather than types, so that one pass finds every mistake, and
//! so that a scalar keeps the text that the user wrote: an image's tag `1.10` is not the number 1.1.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, NonFiniteFloatPolicy, Spanned};

/// A value and its place: bytes of the file. For an alias, the place of what it stands for.
#[derive(Debug)]
pub(crate) struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Nothing,
    Scalar { text: String, kind: Kind },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Bool(bool),
}

/// Why there is no tree.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Where, in bytes of the file.
    pub at: usize,
    /// What kind.
    pub kind: FailureKind,
}

#[derive(Debug)]
pub(crate) enum FailureKind {
    /// A key stands twice in a mapping.
    DuplicateKey,
    /// Too many values, or too deep, once aliases are followed.
    TooLarge,
    /// A second document begins.
    SecondDocument,
    /// In the library's words, which may quote the file.
    Syntax(String),
}

/// What a configuration can need, so that a bomb is refused before it is built.
const NODES_MAX: usize = 200_000;
/// The deepest place of the reference is six levels down.
const DEPTH_MAX: usize = 32;

/// Reads a document. With `duplicates`, of two equal keys the last counts; else they are a failure.
pub(crate) fn read(text: &str, duplicates: bool) -> Result<Node, Failure> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        duplicate_keys: if duplicates { DuplicateKeyPolicy::LastWins } else { DuplicateKeyPolicy::Error },
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_depth: DEPTH_MAX, max_aliases: 1_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: NODES_MAX },
    };
    let mut root: Node = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| failure(text, &error))?;
    root.keep_source(text);
    Ok(root)
}

fn failure(text: &str, error: &Error) -> Failure {
    let error = error.without_snippet();
    let place = error.location().unwrap_or(Location::UNKNOWN);
    // What goes wrong while an alias is followed is told of the alias.
    let cause = if let Error::AliasError { error, .. } = error { error } else { error };
    let kind = match cause {
        Error::DuplicateMappingKey { .. } => FailureKind::DuplicateKey,
        Error::MultipleDocuments { .. } => FailureKind::SecondDocument,
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => FailureKind::TooLarge,
        other => {
            // The words end with the place, which is told in another way.
            let words = other.to_string();
            FailureKind::Syntax(words.split(" at line ").next().unwrap_or(&words).to_owned())
        }
    };
    Failure { at: offset(text, place), kind }
}

/// The byte at which a place lies; syntax errors know their line and column alone.
fn offset(text: &str, place: Location) -> usize {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(1);
    let line: usize = text.split_inclusive('\n').take(number(place.line())).map(str::len).sum();
    let rest = text.get(line..).unwrap_or_default();
    line + rest.chars().take(number(place.column())).map(char::len_utf8).sum::<usize>()
}

impl Node {
    /// A scalar's text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What it is, for errors.
    pub fn word(&self) -> &'static str {
        match &self.value {
            Value::Nothing => "nothing",
            Value::Scalar { kind: Kind::Text, .. } => "text",
            Value::Scalar { kind: Kind::Number, .. } => "a number",
            Value::Scalar { kind: Kind::Bool(_), .. } => "true or false",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Gives numbers the text that stands in the file.
    fn keep_source(&mut self, source: &str) {
        match &mut self.value {
            Value::Scalar { text, kind: Kind::Number | Kind::Bool(_) } => {
                if let Some(written) =
                    source.get(self.span.clone()).filter(|written| !written.is_empty())
                {
                    written.clone_into(text);
                }
            }
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.keep_source(source)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    key.keep_source(source);
                    value.keep_source(source);
                }
            }
            Value::Nothing | Value::Scalar { .. } => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        let number =
            |count: Option<u64>| count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let start = number(span.byte_offset());
        Ok(Self { span: start..start + number(span.byte_len()), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl ValueVisitor {
    fn number(number: impl fmt::Display) -> Value {
        Value::Scalar { text: number.to_string(), kind: Kind::Number }
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar { text: value.to_string(), kind: Kind::Bool(value) })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Self::number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar { text: value.to_owned(), kind: Kind::Text })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}
