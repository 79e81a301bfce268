//! Files and what comes of them: `cases/NAME.yaml` is read, and the outcome compared with `cases/NAME.expected`.
//! `UPDATE=1` writes what came.

use std::{collections::BTreeSet, fs, path::Path};

use dayfly_config::parse;

/// The configuration, or every error, as text.
fn outcome(bytes: &[u8]) -> String {
    match parse(bytes, Path::new("dayfly.yaml")) {
        Ok(config) => {
            let warnings: String =
                config.warnings.iter().map(|warning| format!("{warning}\n\n")).collect();
            format!(
                "{warnings}{config:#?}\n",
                config = dayfly_config::Config { warnings: Vec::new(), ..config }
            )
        }
        Err(errors) => format!("{errors}\n"),
    }
}

#[test]
fn every_case_comes_out_as_expected() {
    let update = std::env::var_os("UPDATE").is_some();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut stems: BTreeSet<_> = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&cases).unwrap() {
        stems.insert(entry.unwrap().path().with_extension(""));
    }
    for stem in &stems {
        let came = outcome(&fs::read(stem.with_extension("yaml")).unwrap());
        assert!(
            !came.contains("hunter2") && !came.contains("0123456789abcdef"),
            "a secret is shown: {came}"
        );
        let expected = stem.with_extension("expected");
        if update {
            fs::write(&expected, &came).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != came {
            wrong.push(format!("{}:\n{came}", stem.display()));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}
