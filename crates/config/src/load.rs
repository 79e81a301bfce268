//! From a file to a configuration.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use dayfly_core::model::Spec;

use crate::{
    backends,
    config::Config,
    github, keys,
    mask::{Mask, secret_places},
    pools,
    problem::{ConfigErrors, Problems, unreadable},
    server,
    table::Table,
    yaml::{self, FailureKind, Node, Value},
};

/// The exit code of a program whose configuration is wrong.
pub const EXIT_CODE: u8 = 3;

/// A thousand pools fit; what is larger is no configuration.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the store is when the file does not say.
const STORE: &str = "/var/lib/dayfly/dayfly.db";

/// Reads a configuration file. Relative paths in it start from its directory.
///
/// # Errors
/// All that is wrong with it, without a secret.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let failed = |error: std::io::Error| {
        unreadable(
            path,
            format!("the configuration can't be read: {error}"),
            "name a file that dayfly's user can read",
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    parse(&bytes, path)
}

/// Reads a configuration from memory; `path` names it in errors, and relative paths in it start from its directory.
///
/// # Errors
/// All that is wrong with it, without a secret.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Config, ConfigErrors> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        let message = "the configuration is larger than 1 MiB".to_owned();
        return Err(unreadable(path, message, "name the right file, or run several daemons"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        unreadable(path, format!("the configuration is not UTF-8: line {line}"), "save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);

    let mut problems = Problems::default();
    let (root, mask) = tree(text, &mut problems);
    let base = path.parent().unwrap_or(Path::new(""));
    let config = root.and_then(|root| config(&root, base, &mut problems)).unwrap_or_default();
    for place in secret_places(text) {
        if !problems.has_error_at(&place) {
            problems.error(
                &place,
                "this has the form of a secret",
                "remove it, and replace that token or key at GitHub: what was in a file is known; secrets are \
                 referred to by file:PATH, env:NAME or credential:NAME",
            );
        }
    }
    let warnings = problems.finish(text, path, &mask)?;
    Ok(Config { warnings, ..config })
}

/// The tree of the file, and what must not be shown of it.
fn tree(text: &str, problems: &mut Problems) -> (Option<Node>, Mask) {
    let failure = match yaml::read(text, false) {
        Ok(root) => {
            let mask = Mask::of_tree(&root);
            return (Some(root), mask);
        }
        Err(failure) => failure,
    };
    let mask = Mask::without_tree(text);
    let place = failure.at..failure.at;
    match failure.kind {
        FailureKind::DuplicateKey => {
            problems.error(
                &place,
                "this key stands twice in one mapping",
                "remove one, or make one of them",
            );
            // The rest of the file may have mistakes too.
            if let Ok(root) = yaml::read(text, true) {
                let mask = mask.and(Mask::of_tree(&root));
                return (Some(root), mask);
            }
        }
        FailureKind::TooLarge => {
            problems.error(
                &place,
                "the file has too many values or levels, aliases followed",
                "make it simpler",
            );
        }
        FailureKind::SecondDocument => {
            problems.error(
                &place,
                "a second document begins here",
                "keep one document in the file",
            );
        }
        FailureKind::Syntax(words) => {
            // The library's words may quote the file.
            let words = if mask.all_lines { String::new() } else { format!(": {words}") };
            let remedy = "YAML is indented with spaces; quote a text that holds `: ` or ` #`, or begins with a sign; \
                          close what is opened";
            problems.error(&place, format!("this is not valid YAML{words}"), remedy);
        }
    }
    (None, mask)
}

fn config(root: &Node, base: &Path, problems: &mut Problems) -> Option<Config> {
    if matches!(root.value, Value::Nothing) {
        problems.error(
            &(0..0),
            "the configuration is empty",
            "begin with `github`, `backends` and `pools`",
        );
        return None;
    }
    let file = Table::of(root, &keys::FILE, problems)?;
    let scopes = github::read(&file, base, problems);
    let (backends, budgets) = backends::read(&file, base, problems);
    let server = server::read(&file, base, problems);
    let hears = server::hears(&file);
    let pools = pools::read(&file, &scopes, (&backends, &budgets), hears, problems);
    Some(Config {
        store: store(&file, base, problems).unwrap_or_else(|| PathBuf::from(STORE)),
        spec: Spec {
            scopes: scopes.specs,
            pools,
            budgets: budgets.iter().map(|(name, (budget, _))| (name.clone(), *budget)).collect(),
            detected: budgets
                .into_iter()
                .filter(|(_, (_, detected))| detected.is_any())
                .map(|(name, (_, detected))| (name, detected))
                .collect(),
        },
        scopes: scopes.configs,
        backends: backends
            .into_iter()
            .filter_map(|(name, backend)| Some((name, backend?)))
            .collect(),
        server,
        warnings: Vec::new(),
    })
}

fn store(file: &Table<'_>, base: &Path, problems: &mut Problems) -> Option<PathBuf> {
    let table = Table::of(file.get("store")?, &keys::STORE, problems)?;
    table.required("sqlite", "name the store's file", problems)?;
    table.string("sqlite", problems).map(|path| base.join(path))
}
