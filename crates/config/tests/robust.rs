//! Whatever the file holds: no panic, and no secret in what is shown.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, path::Path, sync::LazyLock};

use dayfly_config::parse;
use proptest::prelude::*;

/// A token by its form, and what no one may see of it.
const TOKEN: &str = "ghp_Zq0123456789abcdefZq0123456789abcdef";
const TOKEN_PART: &str = "Zq0123456789";
/// A secret without a form.
const PLAIN: &str = "correct-horse-battery";

/// The files of the other tests, as a beginning.
static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> =
        fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    // The bomb takes its time in a debug build.
    paths.retain(|path| !path.ends_with("bomb.yaml"));
    paths.into_iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
});

fn shown(text: &str) -> String {
    match parse(text.as_bytes(), Path::new("dayfly.yaml")) {
        Ok(config) => {
            let warnings: String = config.warnings.iter().map(ToString::to_string).collect();
            format!("{warnings}{config:?}")
        }
        Err(errors) => format!("{errors}{errors:?}"),
    }
}

/// The start of a character near `at` thousandths of the text.
fn place(text: &str, at: usize) -> usize {
    text.floor_char_boundary(text.len() * at / 1_000)
}

/// A small accident: something put in, or cut away.
#[derive(Debug, Clone)]
struct Accident {
    at: usize,
    cut: usize,
    put: String,
}

fn accidents() -> impl Strategy<Value = Vec<Accident>> {
    let put = prop_oneof![
        "[\\[\\]{}:,\"'|>#&*!%@`~\\- \n\t]{0,3}",
        "\\PC{0,3}",
        prop::sample::select(vec![
            "\n", "\n  ", "\n    ", ": ", "- ", "*x", "&x ", "<<: ", "\"", "'", "token: ", "!!str "
        ])
        .prop_map(str::to_owned),
    ];
    let accident =
        (0..1_000_usize, 0..4_usize, put).prop_map(|(at, cut, put)| Accident { at, cut, put });
    prop::collection::vec(accident, 0..4)
}

fn befall(mut text: String, accidents: &[Accident]) -> String {
    for accident in accidents {
        let start = place(&text, accident.at);
        let end = text.floor_char_boundary((start + accident.cut).min(text.len())).max(start);
        text.replace_range(start..end, &accident.put);
    }
    text
}

/// A file of the tests, after some accidents.
fn files() -> impl Strategy<Value = String> {
    (prop::sample::select(FILES.clone()), accidents())
        .prop_map(|(text, accidents)| befall(text, &accidents))
}

/// `auth` with a literal secret, in every form that YAML has for it.
fn literal() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        format!("    auth: {{ token: {PLAIN} }}\n"),
        format!("    auth: {{ \"token\" : '{PLAIN}' }}\n"),
        format!("    auth:\n      token: \"{PLAIN}\"\n"),
        format!("    auth:\n      token:\n        {PLAIN}\n"),
        format!("    auth:\n      token: |\n        {PLAIN}\n"),
        format!("    auth:\n      token: >-\n        {PLAIN}\n        {PLAIN}\n"),
        format!("    auth:\n      token: [{PLAIN}, {{ a: {PLAIN} }}]\n"),
        format!("    auth:\n      token: &x {PLAIN}\n    name: *x\n"),
        format!("    auth:\n      app:\n        client_id: x\n        private_key: {PLAIN}\n"),
        format!("    auth:\n      app: {{ private_key: file:x, private_key: {PLAIN} }}\n"),
    ])
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, Path::new("dayfly.yaml"));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        shown(&text);
    }

    #[test]
    fn any_accident_is_answered(text in files()) {
        shown(&text);
    }

    #[test]
    fn a_token_is_never_shown_wherever_it_stands(text in files(), at in 0..=1_000_usize) {
        let mut text = text;
        text.insert_str(place(&text, at), TOKEN);
        let shown = shown(&text);
        prop_assert!(!shown.contains(TOKEN_PART), "{shown}\n--- of:\n{text}");
    }

    #[test]
    fn a_token_in_the_file_is_refused(at in 0..=1_000_usize, file in prop::sample::select(FILES.clone())) {
        let mut text = file;
        text.insert_str(place(&text, at), &format!(" {TOKEN} "));
        prop_assert!(parse(text.as_bytes(), Path::new("dayfly.yaml")).is_err(), "{text}");
    }

    #[test]
    fn a_literal_secret_is_refused_and_never_shown(
        literal in literal(),
        before in accidents(),
        after in accidents(),
    ) {
        let head = "github:\n  - url: https://github.com/acme\n".to_owned();
        let tail = "backends:\n  here: { docker: {} }\npools:\n  - { name: linux, image: i, max: 1 }\n".to_owned();
        let quiet = before.is_empty();
        let text = format!("{}{literal}{}", befall(head, &before), befall(tail, &after));
        let shown = shown(&text);
        prop_assert!(!shown.contains(PLAIN), "{shown}\n--- of:\n{text}");
        if quiet {
            prop_assert!(parse(text.as_bytes(), Path::new("dayfly.yaml")).is_err(), "{text}");
        }
    }
}

/// What costs most, in large files: each is answered, in bounded time, with errors that a person can read.
#[test]
fn large_files_are_answered() {
    const SIZE: usize = 1 << 15;
    let pieces = [
        "[",
        "{",
        "- ",
        "- - ",
        "a: ",
        "a:\n",
        "? ",
        "&a ",
        "*a ",
        "&a [*a], ",
        "\"",
        "'",
        "|\n",
        "#",
        "#\n",
        "\t",
        "!!str ",
        "%YAML 1.2\n",
        "---\n",
        "\u{feff}",
        "\u{0}",
        "\\x",
        "x",
        "x ",
        "x\n",
        "<<: *a\n",
        "pools: [\n",
        "  - { name: a, image: i, max: 1 }\n",
        "- &a [1]\n- *a\n",
    ];
    for head in ["", "pools:\n", "github: &a [x]\npools: "] {
        for piece in pieces {
            let text = head.to_owned() + &piece.repeat(SIZE / piece.len() - head.len());
            let shown = shown(&text);
            assert!(shown.len() < 4 << 20, "{head:?}{piece:?}: {} bytes are shown", shown.len());
        }
    }
}
