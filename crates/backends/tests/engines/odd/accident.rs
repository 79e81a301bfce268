//! What may befall a sound answer on its way.

use std::time::Duration;

use dayfly_core::ports::BackendError;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Far more than any answer takes to be read, on a loaded machine.
pub const TIME_MAX: Duration = Duration::from_secs(20);

/// How many answers each test spoils: some seconds of a debug build.
pub const CASES: u32 = 128;

/// One thing that befalls it.
#[derive(Debug, Clone)]
pub enum Accident {
    /// Something else altogether.
    Replaced(Vec<u8>),
    /// Its end is missing, from this thousandth on.
    Cut(usize),
    /// Bytes put in or over at this thousandth.
    Overwritten(usize, Vec<u8>),
    /// Of a JSON document: the value at this place among all has become another.
    Odd(usize, Value),
}

/// Any accident.
pub fn accident() -> impl Strategy<Value = Accident> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Accident::Replaced),
        2 => (0..1_000_usize).prop_map(Accident::Cut),
        2 => (0..1_000_usize, bytes()).prop_map(|(at, put)| Accident::Overwritten(at, put)),
        6 => (0..60_usize, odd()).prop_map(|(at, value)| Accident::Odd(at, value)),
    ]
}

/// Values that nobody expects.
fn odd() -> impl Strategy<Value = Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    prop_oneof![
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(-1),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e308),
            json!(""),
            json!([]),
            json!({}),
            json!("\u{0}\u{1b}[31m\u{202e}"),
            json!("x".repeat(100_000)),
            json!(vec![7; 10_000]),
            deep,
        ]),
        "\\PC{0,20}".prop_map(|text| json!(text)),
        any::<i64>().prop_map(|number| json!(number)),
    ]
}

impl Accident {
    /// What is left of `sound`.
    pub fn befall(&self, sound: &[u8]) -> Vec<u8> {
        let place = |thousandth: usize| sound.len() * thousandth / 1_000;
        match self {
            Self::Replaced(bytes) => bytes.clone(),
            Self::Cut(at) => sound[..place(*at)].to_vec(),
            Self::Overwritten(at, put) => {
                let mut bytes = sound.to_vec();
                let start = place(*at);
                let end = (start + put.len() / 2).min(bytes.len());
                bytes.splice(start..end, put.iter().copied());
                bytes
            }
            Self::Odd(at, odd) => match serde_json::from_slice(sound) {
                Ok(mut document) => {
                    let count = count(&document);
                    *nth(&mut document, &mut (at % count)).unwrap() = odd.clone();
                    document.to_string().into_bytes()
                }
                Err(_) => odd.to_string().into_bytes(),
            },
        }
    }
}

fn inner(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + inner(value).into_iter().map(count).sum::<usize>()
}

fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|item| nth(item, left)),
        _ => None,
    }
}

/// An error names what was asked, is bounded, and holds nothing that a terminal would obey.
pub fn check<T>(result: Result<T, BackendError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.operation.is_empty() && !error.detail.is_empty(), "{error:?}");
            assert!(error.detail.chars().count() <= 2_000, "{} long", error.detail.len());
            assert!(
                !error.to_string().contains(|c: char| c.is_control() && c != '\n'),
                "{error:?}"
            );
            None
        }
    }
}

#[test]
fn each_place_can_become_odd() {
    let sound = json!({ "a": [1, 2], "b": { "c": 3 } }).to_string();
    let became: std::collections::BTreeSet<_> =
        (0..6).map(|at| Accident::Odd(at, json!("odd")).befall(sound.as_bytes())).collect();
    assert_eq!(became.len(), 6, "{became:?}");
}
