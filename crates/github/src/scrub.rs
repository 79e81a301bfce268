//! Takes out of other people's words whatever looks like a secret, and what would upset a terminal.

/// What stands for a secret that was taken out.
const HIDDEN: &str = "[hidden]";

/// `text` in at most `max` characters, without control characters.
pub(crate) fn clean(text: &str, max: usize) -> String {
    // As it mostly is: nothing to take out, and short.
    if text.len() <= max && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    text.chars()
        .map(|char| if char == '\n' { ' ' } else { char })
        .filter(|char| !char.is_control())
        .take(max)
        .collect()
}

/// [`clean`], and without `known` (a secret that the answer might echo) nor anything that looks like a token.
pub(crate) fn scrub(text: &str, known: &str, max: usize) -> String {
    // Cut first, generously, so that a huge answer costs nothing; a token that the cut would halve is hidden before
    // the final cut.
    let mut text = clean(text, max.saturating_mul(2));
    if known.len() >= 8 {
        text = text.replace(known, HIDDEN);
    }
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // A token is a run of these characters (a JWT has dots); everything between the runs is kept.
        let start = rest.find(is_token_char).unwrap_or(rest.len());
        scrubbed.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|char| !is_token_char(char)).unwrap_or(rest.len());
        scrubbed.push_str(if looks_secret(&rest[..end]) { HIDDEN } else { &rest[..end] });
        rest = &rest[end..];
    }
    scrubbed.chars().take(max).collect()
}

fn is_token_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.')
}

fn looks_secret(run: &str) -> bool {
    is_github_token(run) || is_jwt(run) || is_old_token(run)
}

/// `ghp_…`, `gho_…`, `ghs_…`, …, `github_pat_…`, also where something is glued before it.
fn is_github_token(run: &str) -> bool {
    let prefixed = |at: usize| {
        let tail = &run.as_bytes()[at..];
        tail.starts_with(b"github_pat_")
            || (tail.len() > 4
                && tail.starts_with(b"gh")
                && tail[2].is_ascii_lowercase()
                && tail[3] == b'_')
    };
    (0..run.len()).any(prefixed)
}

/// Three parts of base64 between dots, the first of them beginning as every JSON object does: `{"`.
fn is_jwt(run: &str) -> bool {
    run.contains("ey")
        && run.matches('.').count() >= 2
        && run.split('.').any(|part| part.len() >= 4 && part.starts_with("ey"))
}

/// The tokens of servers before 2021: forty hexadecimal digits. A commit's hash looks the same and is no loss.
fn is_old_token(run: &str) -> bool {
    run.len() == 40 && run.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_taken_out() {
        for (text, expected) in [
            ("Bad credentials", "Bad credentials"),
            ("token ghp_abcDEF123456 is bad", "token [hidden] is bad"),
            ("x=ghs_abc,y=gho_abc", "x=[hidden],y=[hidden]"),
            ("github_pat_11ABC_def is bad", "[hidden] is bad"),
            ("prefixghp_abcDEF", "[hidden]"),
            ("jwt eyJhbGciOi.eyJpc3Mi.sig-_x!", "jwt [hidden]!"),
            ("api.github.com and they.com.", "api.github.com and they.com."),
            ("0123456789abcdef0123456789abcdef01234567", "[hidden]"),
            ("my-own-secret!", "[hidden]!"),
            ("two\nlines\u{1b}[31m", "two lines[31m"),
            ("äöü ghp_1234 ß", "äöü [hidden] ß"),
        ] {
            assert_eq!(scrub(text, "my-own-secret", 100), expected);
        }
    }

    #[test]
    fn a_cut_token_stays_hidden() {
        let text = format!("{} ghp_{}", "a".repeat(95), "b".repeat(300));
        assert!(!scrub(&text, "", 100).contains("ghp_"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_no_token_passes(before in ".{0,80}", after in "[^A-Za-z0-9_.-].{0,80}|") {
            let scrubbed = scrub(&format!("{before} ghs_16C7e42F292c6912E7{after}"), "", 60);
            prop_assert!(!scrubbed.contains("ghs_16") && scrubbed.chars().count() <= 60);
        }
    }
}
