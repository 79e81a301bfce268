//! `github`: the scopes, their addresses and credentials.

use std::{collections::BTreeMap, path::Path};

use dayfly_core::model::{ScopeKind, ScopeName, ScopeSpec};

use crate::{
    config::{AppAuth, Auth, ScopeConfig},
    keys,
    mask::{has_user_part, visible},
    problem::Problems,
    secret::SecretRef,
    table::{Table, Text},
    yaml::Node,
};

/// The name of a scope that stands alone without one.
const ONLY: &str = "github";

/// The scopes of a file. One whose address is wrong has no entry in `specs`, but its name is known.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    pub names: Vec<ScopeName>,
    pub specs: BTreeMap<ScopeName, ScopeSpec>,
    pub configs: BTreeMap<ScopeName, ScopeConfig>,
}

pub(crate) fn read(file: &Table<'_>, base: &Path, problems: &mut Problems) -> Scopes {
    let mut scopes = Scopes::default();
    file.required(
        "github",
        "say where the runners register: `github: [{ url: https://github.com/ORGANIZATION }]`",
        problems,
    );
    let nodes = file.list("github", problems);
    let mut without_auth: Option<ScopeName> = None;
    for node in nodes {
        let Some(table) = Table::of(node, &keys::SCOPE, problems) else { continue };
        let Some(name) = name(&table, nodes.len() == 1, problems) else { continue };
        if scopes.names.contains(&name) {
            problems.error(
                &table.span,
                format!("scope `{name}` is here twice"),
                "give each scope a name of its own",
            );
            continue;
        }
        scopes.names.push(name.clone());
        let address = address(&table, problems);
        let kind = address.as_ref().map(|(_, kind)| kind);
        let repositories = repositories(&table, kind, problems);
        let auth = table.get("auth").map(|node| (auth(node, base, problems), node));
        match &auth {
            None => {
                if let Some(first) = without_auth.replace(name.clone()) {
                    problems.error(
                        &table.span,
                        format!("scopes `{first}` and `{name}` have no `auth`"),
                        "give all but one an `auth`: --token and GITHUB_TOKEN serve one scope",
                    );
                }
            }
            Some((Some(Auth::App(_)), node))
                if matches!(address, Some((_, ScopeKind::Enterprise(_)))) =>
            {
                problems.error(
                    &node.span,
                    format!("scope `{name}` is an enterprise and has an App"),
                    "GitHub has no App permission for the runners of an enterprise: use `token` with a classic personal \
                     access token that has manage_runners:enterprise",
                );
            }
            Some(_) => {}
        }
        if let Some((url, kind)) = address {
            scopes.specs.insert(name.clone(), ScopeSpec { url: url.clone(), kind, repositories });
            scopes.configs.insert(name, ScopeConfig { url, auth: auth.and_then(|(auth, _)| auth) });
        }
    }
    scopes
}

fn name(table: &Table<'_>, only: bool, problems: &mut Problems) -> Option<ScopeName> {
    if table.get("name").is_none() {
        if only {
            return ScopeName::new(ONLY).ok();
        }
        problems.error(
            &table.span,
            "a scope has no `name`",
            "with more than one scope, give each a name",
        );
        return None;
    }
    let text = table.text("name", problems)?;
    match ScopeName::new(text.text) {
        Ok(name) => Some(name),
        Err(error) => {
            problems.error(
                text.span,
                format!("`{}` is no scope name", visible(text.text)),
                error.rule,
            );
            None
        }
    }
}

fn address(table: &Table<'_>, problems: &mut Problems) -> Option<(String, ScopeKind)> {
    table.required(
        "url",
        "write `url: https://github.com/ORGANIZATION` (or OWNER/REPOSITORY, enterprises/NAME)",
        problems,
    )?;
    let Text { text, span } = table.text("url", problems)?;
    if has_user_part(text) {
        problems.error(
            span,
            "`url` has a user or a password in it",
            "leave them out, and use `auth`",
        );
        return None;
    }
    let url = text.trim_end_matches('/');
    match kind(url) {
        Ok((kind, in_the_clear)) => {
            if in_the_clear {
                problems.warning(
                    span,
                    "`url` is not encrypted: tokens cross the network in the clear",
                    "use https",
                );
            }
            Some((url.to_owned(), kind))
        }
        Err(remedy) => {
            problems.error(span, format!("`url` can't be `{}`", visible(text)), remedy);
            None
        }
    }
}

/// What an address names, and whether it leads over a network without encryption.
fn kind(url: &str) -> Result<(ScopeKind, bool), &'static str> {
    const REMEDY: &str = "write https://HOST/ORGANIZATION, https://HOST/OWNER/REPOSITORY or https://HOST/enterprises/NAME";
    let uri: http::Uri = url.parse().map_err(|_| REMEDY)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(REMEDY)?;
    let in_the_clear = match uri.scheme_str() {
        Some("https") => false,
        Some("http") => !(host == "localhost" || host.starts_with("127.") || host == "[::1]"),
        _ => return Err(REMEDY),
    };
    if uri.query().is_some() || url.contains('#') {
        return Err(REMEDY);
    }
    let names: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    if !names.iter().all(|name| is_name(name)) {
        return Err(REMEDY);
    }
    let kind = match names.as_slice() {
        ["enterprises" | "orgs" | "organizations"] | ["orgs" | "organizations", _] => {
            return Err(REMEDY);
        }
        [name] => ScopeKind::Organization((*name).to_owned()),
        ["enterprises", name] => ScopeKind::Enterprise((*name).to_owned()),
        [_, name] if name.ends_with(".git") => {
            return Err("write the repository's address without .git");
        }
        [owner, name] => {
            ScopeKind::Repository { owner: (*owner).to_owned(), name: (*name).to_owned() }
        }
        _ => return Err(REMEDY),
    };
    Ok((kind, in_the_clear))
}

/// The repositories whose jobs are caught up on, as `OWNER/REPOSITORY`.
fn repositories(
    table: &Table<'_>,
    scope: Option<&ScopeKind>,
    problems: &mut Problems,
) -> Vec<String> {
    let texts = table.texts("repositories", problems);
    if let (Some(ScopeKind::Repository { .. }), Some(node)) = (scope, table.get("repositories")) {
        problems.error(
            &node.span,
            "a scope that is a repository has no `repositories`",
            "remove them: its own jobs are all that there are",
        );
    }
    let mut repositories: Vec<String> = Vec::new();
    for text in texts {
        let (owner, name) = match (text.text.split_once('/'), scope) {
            (Some(parts), _) => parts,
            (None, Some(ScopeKind::Organization(owner))) => (owner.as_str(), text.text),
            (None, _) => ("", text.text),
        };
        let of_another =
            matches!(scope, Some(ScopeKind::Organization(of)) if !of.eq_ignore_ascii_case(owner));
        if !(is_name(owner) && is_name(name)) || of_another {
            problems.error(
                text.span,
                format!("`{}` is no repository of the scope", visible(text.text)),
                "write OWNER/REPOSITORY; of an organisation, REPOSITORY is enough",
            );
            continue;
        }
        let repository = format!("{owner}/{name}");
        if !repositories.iter().any(|known| known.eq_ignore_ascii_case(&repository)) {
            repositories.push(repository);
        }
    }
    repositories
}

/// Whether GitHub would take it as the name of an owner or a repository.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty()
        && name.len() <= 100
        && name.chars().all(plain)
        && !name.trim_matches('.').is_empty()
}

fn auth(node: &Node, base: &Path, problems: &mut Problems) -> Option<Auth> {
    let table = Table::of(node, &keys::AUTH, problems)?;
    match (table.get("app"), table.get("token")) {
        (Some(app), None) => self::app(app, base, problems).map(Auth::App),
        (None, Some(_)) => secret(&table, "token", base, problems).map(Auth::Token),
        // A misspelt key has been told already.
        (None, None) if !table.is_known() => None,
        (both, _) => {
            let has =
                if both.is_some() { "both `app` and `token`" } else { "neither `app` nor `token`" };
            problems.error(&table.span, format!("`auth` has {has}"), "write one of them");
            None
        }
    }
}

fn app(node: &Node, base: &Path, problems: &mut Problems) -> Option<AppAuth> {
    let table = Table::of(node, &keys::APP, problems)?;
    table.required("client_id", "copy it from the App's page at GitHub", problems);
    table.required(
        "private_key",
        "write `private_key: file:PATH` with the App's PEM file",
        problems,
    );
    let client_id = table.parsed("client_id", problems, |text| {
        let plain =
            text.len() <= 100 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        plain
            .then(|| text.to_owned())
            .ok_or_else(|| "copy the client id from the App's page at GitHub".to_owned())
    });
    let private_key = secret(&table, "private_key", base, problems);
    let installation_id =
        table.number("installation_id", 1..=i64::MAX, problems).map(i64::unsigned_abs);
    let webhook = table.flag("webhook", problems);
    Some(AppAuth { client_id: client_id?, private_key: private_key?, installation_id, webhook })
}

/// A secret's reference. What stands there instead is never repeated.
pub(crate) fn secret(
    table: &Table<'_>,
    key: &str,
    base: &Path,
    problems: &mut Problems,
) -> Option<SecretRef> {
    secret_at(table.get(key)?, key, base, problems)
}

/// The forms of a reference to a secret.
pub(crate) const FORMS: &str = "file:PATH, env:NAME or credential:NAME (of systemd)";

/// A secret's reference at a place of its own.
pub(crate) fn secret_at(
    node: &Node,
    key: &str,
    base: &Path,
    problems: &mut Problems,
) -> Option<SecretRef> {
    let Some(text) = node.text() else {
        problems.error(
            &node.span,
            format!("`{key}` refers to a secret, and is {}", node.word()),
            format!("write {FORMS}"),
        );
        return None;
    };
    let reference = SecretRef::parse(text, base);
    if reference.is_none() {
        problems.error(
            &node.span,
            format!("`{key}` is a secret written in the file, or no reference that can be followed"),
            format!("keep the secret elsewhere and write {FORMS}; replace a secret that was in a file at GitHub"),
        );
    }
    reference
}
