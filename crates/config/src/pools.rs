//! `pools`: each pool, and what they must not have in common.

use std::collections::BTreeMap;

use dayfly_core::model::{
    BackendName, DemandSource, PoolName, PoolSpec, ScaleSetSpec, ScopeKind, ScopeName,
};

use crate::{
    backends::Backends,
    config::BackendConfig,
    demand::{Source, check_webhooks, overlap, refuse_scale_set_keys, source, word},
    github::Scopes,
    instance, keys, limits,
    mask::visible,
    problem::Problems,
    table::{Table, Text, did_you_mean, text},
    yaml::{Kind, Node, Value},
};

/// The runner group that every scope has.
const DEFAULT_GROUP: &str = "Default";
/// A bound of ours on labels, set names and group names: longer than any in use, and fit for a log line.
const NAME_CHARS_MAX: usize = 256;
/// GitHub takes up to 100 labels (`reference/protocol.md`, 4.2); two are added to the pool's own.
const LABELS_MAX: usize = 98;
pub(crate) fn read(
    file: &Table<'_>,
    scopes: &Scopes,
    backends: &Backends,
    hears: bool,
    problems: &mut Problems,
) -> BTreeMap<PoolName, PoolSpec> {
    file.required(
        "pools",
        "list the pools: `pools: [{ name: linux, image: …, max: 10 }]`",
        problems,
    );
    let mut pools = BTreeMap::new();
    let mut names: Vec<PoolName> = Vec::new();
    // Scope's address, group and set, without case: GitHub compares them so.
    let mut sets: BTreeMap<(String, String, String), PoolName> = BTreeMap::new();
    for node in file.list("pools", problems) {
        let Some(table) = Table::of(node, &keys::POOL, problems) else { continue };
        let name = name(&table, &mut names, problems);
        let Some(pool) = pool(&table, name, scopes, backends, hears, problems) else { continue };
        if let (Some(scope), Some(set)) = (scopes.specs.get(&pool.scope), pool.scale_set()) {
            let set =
                (scope.url.to_lowercase(), pool.group.to_lowercase(), set.name.to_lowercase());
            if let Some(other) = sets.insert(set, pool.name.clone()) {
                let place = table.get("scale_set").or_else(|| table.get("name"));
                problems.error(
                    &place.map_or(table.span.clone(), |node| node.span.clone()),
                    format!(
                        "pools `{other}` and `{}` are on one scale set, `{}`",
                        pool.name,
                        visible(pool.scale_set().map_or("", |set| &set.name))
                    ),
                    "give each a `scale_set` of its own, or make one pool of them",
                );
            }
        }
        if let Some(other) = pools.values().find(|other| overlap(scopes, &pool, other)) {
            let place = table.get("labels").or_else(|| table.get("name"));
            problems.error(
                &place.map_or(table.span.clone(), |node| node.span.clone()),
                format!(
                    "pools `{}` and `{}` can take the same jobs, and hear of them by different ways: `demand: {}` and `demand: {}`",
                    other.name,
                    pool.name,
                    word(&other.demand),
                    word(&pool.demand)
                ),
                "give each labels that the other lacks, so that a job is for one of them",
            );
        }
        pools.insert(pool.name.clone(), pool);
    }
    pools
}

fn name(table: &Table<'_>, names: &mut Vec<PoolName>, problems: &mut Problems) -> Option<PoolName> {
    table.required("name", "give it one, such as `name: linux-small`", problems)?;
    let text = table.text("name", problems)?;
    match PoolName::new(text.text) {
        Ok(name) if names.contains(&name) => {
            problems.error(
                text.span,
                format!("pool `{name}` is here twice"),
                "give each pool a name of its own",
            );
            None
        }
        Ok(name) => {
            names.push(name.clone());
            Some(name)
        }
        Err(error) => {
            problems.error(
                text.span,
                format!("`{}` is no pool name", visible(text.text)),
                error.rule,
            );
            None
        }
    }
}

/// Reads a whole pool, also one without a good name, for the sake of its other mistakes.
fn pool(
    table: &Table<'_>,
    name: Option<PoolName>,
    scopes: &Scopes,
    backends: &Backends,
    hears: bool,
    problems: &mut Problems,
) -> Option<PoolSpec> {
    let scope = scope(table, &scopes.names, problems);
    let source = source(table, problems);
    let labels = labels(table, problems);
    let scope_spec = scope.as_ref().and_then(|scope| scopes.specs.get(scope));
    let group = group(table, scope_spec.map(|spec| &spec.kind), problems);
    let scale_set = table.text("scale_set", problems).map(|set| {
        check_label(&set, "`scale_set`", problems);
        set.text.to_owned()
    });
    let backend = backend(table, backends, problems);
    let kind = backend.as_ref().and_then(|backend| backends.get(backend)).and_then(Option::as_ref);
    let mut instance = instance::read(table, kind, problems);
    refuse_container_keys(table, kind, problems);
    let image = image(table, backend.as_ref(), kind, backends, problems);
    let (limits, schedules) = limits::read(table, problems);
    if source != Source::ScaleSet {
        refuse_scale_set_keys(table, source, problems);
    }
    if source == Source::Webhook {
        check_webhooks(table, scope_spec, hears, problems);
    }
    if source == Source::Fixed {
        let keeps = |count: Option<u32>| count.is_some_and(|count| count > 0);
        let never = limits.is_some_and(|limits| limits.max > 0 && limits.min_idle == 0)
            && !schedules.iter().any(|schedule| keeps(schedule.min_idle));
        if never {
            let place = table.get("demand").map_or(table.span.clone(), |node| node.span.clone());
            problems.error(
                &place,
                "a pool with `demand: fixed` and without `min_idle` never has a runner",
                "write how many idle runners it keeps: `min_idle: 5`",
            );
        }
    }
    let deadlines = limits::deadlines(table, problems);
    let priority = table.number("priority", i64::from(i32::MIN)..=i64::from(i32::MAX), problems);
    let adopt = table.flag("adopt", problems);

    let name = name?;
    instance.image = image?;
    let scope = scope?;
    let demand = match source {
        Source::Fixed => DemandSource::Fixed,
        Source::Webhook => DemandSource::Webhook,
        Source::ScaleSet => {
            let set = scale_set.unwrap_or_else(|| name.as_str().to_owned());
            DemandSource::ScaleSet(ScaleSetSpec { name: set, adopt })
        }
    };
    Some(PoolSpec {
        mark: demand.mark(&instance, &scope, &group, &labels).into(),
        scope,
        labels,
        group,
        demand,
        backend: backend?,
        instance: instance.into(),
        priority: priority.and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0),
        limits: limits?,
        schedules,
        deadlines,
        name,
    })
}

fn scope(table: &Table<'_>, names: &[ScopeName], problems: &mut Problems) -> Option<ScopeName> {
    if table.get("github").is_none() {
        if names.len() > 1 {
            problems.error(
                &table.span,
                "a pool has no `github`",
                format!("name one of the scopes: {}", listed(names)),
            );
        }
        return if let [only] = names { Some(only.clone()) } else { None };
    }
    let text = table.text("github", problems)?;
    let found = names.iter().find(|name| name.as_str() == text.text);
    if found.is_none() {
        report_unknown(&text, "scope", "github", names.iter().map(ScopeName::as_str), problems);
    }
    found.cloned()
}

fn backend(table: &Table<'_>, backends: &Backends, problems: &mut Problems) -> Option<BackendName> {
    let Some(node) = table.get("backends") else {
        let names: Vec<_> = backends.keys().collect();
        if names.len() > 1 {
            let remedy = format!("name one of the backends: {}", listed(&names));
            problems.error(&table.span, "a pool has no `backends`", remedy);
        }
        return if let [only] = names.as_slice() { Some((*only).clone()) } else { None };
    };
    if let Value::List(nodes) = &node.value
        && nodes.len() != 1
    {
        let (message, remedy) = match nodes.len() {
            0 => ("`backends` of a pool is empty", "name one: `backends: [NAME]`"),
            _ => (
                "several backends in one pool are not in this version",
                "name one, or make a pool for each",
            ),
        };
        problems.error(&node.span, message, remedy);
    }
    let mut first = None;
    for text in table.texts("backends", problems) {
        let found = backends.keys().find(|name| name.as_str() == text.text);
        if found.is_none() {
            report_unknown(
                &text,
                "backend",
                "backends",
                backends.keys().map(BackendName::as_str),
                problems,
            );
        }
        first = first.or_else(|| found.cloned());
    }
    first
}

fn report_unknown<'k>(
    text: &Text<'_>,
    what: &str,
    key: &str,
    known: impl Iterator<Item = &'k str>,
    problems: &mut Problems,
) {
    let remedy = did_you_mean(text.text, known)
        .unwrap_or_else(|| format!("name one that stands under `{key}`"));
    problems.error(text.span, format!("there is no {what} `{}`", visible(text.text)), remedy);
}

fn listed(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn labels(table: &Table<'_>, problems: &mut Problems) -> Vec<String> {
    let labels = table.texts("labels", problems);
    for label in &labels {
        check_label(label, "a label", problems);
    }
    if let Some(label) = labels.get(LABELS_MAX) {
        problems.error(
            label.span,
            format!("a pool has {} labels", labels.len()),
            format!("GitHub takes {LABELS_MAX} beside its own"),
        );
    }
    labels.into_iter().map(|label| label.text.to_owned()).collect()
}

/// A comma parts labels where GitHub's own tools take several; a space can't be told from the next word.
fn check_label(label: &Text<'_>, what: &str, problems: &mut Problems) {
    if label.text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
        let message = format!("{what} can't be `{}`", visible(label.text));
        problems.error(label.span, message, "no commas, spaces or control characters");
    } else if label.text.chars().count() > NAME_CHARS_MAX {
        problems.error(
            label.span,
            format!("{what} is too long"),
            format!("at most {NAME_CHARS_MAX} characters"),
        );
    }
}

fn group(table: &Table<'_>, scope: Option<&ScopeKind>, problems: &mut Problems) -> String {
    let Some(group) = table.text("group", problems) else { return DEFAULT_GROUP.to_owned() };
    if group.text.chars().any(char::is_control) || group.text.chars().count() > NAME_CHARS_MAX {
        let remedy = format!("no control characters, at most {NAME_CHARS_MAX} characters");
        problems.error(group.span, format!("`group` can't be `{}`", visible(group.text)), remedy);
    } else if matches!(scope, Some(ScopeKind::Repository { .. }))
        && !group.text.eq_ignore_ascii_case(DEFAULT_GROUP)
    {
        problems.error(
            group.span,
            format!("`group` can't be `{}`: the pool's scope is a repository", visible(group.text)),
            "remove it: at GitHub only organisations and enterprises have runner groups",
        );
    }
    group.text.to_owned()
}

/// The image for the pool's backend: one text, or a mapping from backends to texts.
fn image(
    table: &Table<'_>,
    backend: Option<&BackendName>,
    kind: Option<&BackendConfig>,
    backends: &Backends,
    problems: &mut Problems,
) -> Option<String> {
    let node = match (table.get("image"), kind) {
        (Some(node), _) => node,
        (None, Some(BackendConfig::Noop { .. })) => return Some("noop".to_owned()),
        (None, _) => {
            let remedy = match kind {
                Some(BackendConfig::Process { .. }) => {
                    "write the directory of GitHub's runner program"
                }
                Some(BackendConfig::Lxd(_)) => {
                    "write an image by its alias or fingerprint: one that has GitHub's runner program, or any with `runner_version: latest`"
                }
                _ => {
                    "write an image that has GitHub's runner program, such as ghcr.io/actions/actions-runner:latest"
                }
            };
            return table.required("image", remedy, problems).and(None);
        }
    };
    let image = match &node.value {
        Value::Map(_) => {
            let mut found = None;
            for (name, node) in table.map("image", problems) {
                if !backends.keys().any(|known| known.as_str() == name.text) {
                    report_unknown(
                        &name,
                        "backend",
                        "backends",
                        backends.keys().map(BackendName::as_str),
                        problems,
                    );
                }
                let image = text(node, "an image", problems);
                if backend.is_some_and(|backend| backend.as_str() == name.text) {
                    found = image;
                }
            }
            if let (None, Some(backend)) = (&found, backend) {
                let message = format!("`image` has none for the pool's backend `{backend}`");
                problems.error(&first_key(node), message, format!("add `{backend}: IMAGE`"));
            }
            found?
        }
        _ => table.text("image", problems)?,
    };
    if image.text.contains(|c: char| c.is_control())
        || (image.text.contains(' ') && !image.text.starts_with('/'))
    {
        problems.error(
            image.span,
            format!("`image` can't be `{}`", visible(image.text)),
            "write it without spaces",
        );
        return None;
    }
    Some(image.text.to_owned())
}

/// Where a mapping begins.
fn first_key(node: &Node) -> std::ops::Range<usize> {
    match &node.value {
        Value::Map(entries) => {
            entries.first().map_or(node.span.clone(), |(key, _)| key.span.clone())
        }
        _ => node.span.clone(),
    }
}

/// What the pool's backend has no word for. It refuses these at each create; here they are found at once.
fn refuse_container_keys(table: &Table<'_>, kind: Option<&BackendConfig>, problems: &mut Problems) {
    const OTHER: &str = "remove it, or use a backend that makes containers";
    const LXD: &str = "remove it, or use a backend `lxd` or `incus`";
    match kind {
        Some(BackendConfig::Process { .. }) => {
            let which = "not for plain processes, which the pool's backend makes";
            refuse(table, keys::CONTAINER_ONLY, which, OTHER, problems);
            refuse(table, keys::LXD_ONLY, "for LXD and Incus alone", LXD, problems);
        }
        Some(BackendConfig::Lxd(_)) => {
            let remedy = "remove it: `config` and `devices` take what LXD has, in its own words";
            refuse(table, keys::NOT_LXD, "nothing that LXD knows", remedy, problems);
        }
        Some(BackendConfig::Docker(_) | BackendConfig::Noop { .. }) => {
            refuse(table, keys::LXD_ONLY, "for LXD and Incus alone", LXD, problems);
        }
        None => {}
    }
}

fn refuse(table: &Table<'_>, refused: &[&str], which: &str, remedy: &str, problems: &mut Problems) {
    for key in refused {
        let Some(node) = table.get(key) else { continue };
        let is_off = match &node.value {
            Value::Scalar { kind: Kind::Bool(on), .. } => !on,
            Value::List(nodes) => nodes.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            _ => false,
        };
        if !is_off {
            problems.error(&node.span, format!("`{key}` is {which}"), remedy);
        }
    }
}
