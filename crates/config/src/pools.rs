//! `pools`: each pool, and what they must not have in common.

use std::collections::BTreeMap;

use dayfly_core::model::{DemandSource, PoolName, PoolSpec, ScaleSetSpec, ScopeKind, ScopeName};

use crate::{
    backends::{Backends, Budgets},
    demand::{Overlap, Source, check_webhooks, overlap, refuse_scale_set_keys, source, word},
    github::Scopes,
    keys, limits,
    mask::visible,
    places::{placement, places},
    problem::Problems,
    table::{Table, Text, did_you_mean},
};

/// The runner group that every scope has, and that a pool is in which names none.
pub const DEFAULT_GROUP: &str = "Default";
/// A bound of ours on labels, set names and group names: longer than any in use, and fit for a log line.
const NAME_CHARS_MAX: usize = 256;
/// GitHub takes up to 100 labels (`reference/protocol.md`, 4.2); two are added to the pool's own.
const LABELS_MAX: usize = 98;
pub(crate) fn read(
    file: &Table<'_>,
    scopes: &Scopes,
    backends: (&Backends, &Budgets),
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
        if let Some((other, overlap)) = nearest_overlap(scopes, &pool, &pools) {
            let place = table.get("labels").or_else(|| table.get("name"));
            let place = place.map_or(table.span.clone(), |node| node.span.clone());
            let names = format!("pools `{}` and `{}`", other.name, pool.name);
            let ways = format!(
                "hear of them by different ways: `demand: {}` and `demand: {}`",
                word(&other.demand),
                word(&pool.demand)
            );
            match overlap {
                Overlap::Whole => problems.error(
                    &place,
                    format!("{names} can take the same jobs, and {ways}"),
                    "give each labels that the other lacks, so that a job is for one of them",
                ),
                Overlap::Part(labels) => problems.warning(
                    &place,
                    format!(
                        "{names} can both take jobs that ask for no more than {}, and {ways}; for such a job a runner may be made in vain",
                        list(&labels)
                    ),
                    "have each job ask for a label that only one of them has",
                ),
            }
        }
        pools.insert(pool.name.clone(), pool);
    }
    pools
}

/// The pool of another source whose jobs this one can take: one that can take all, before one that can take some.
fn nearest_overlap<'a>(
    scopes: &Scopes,
    pool: &PoolSpec,
    pools: &'a BTreeMap<PoolName, PoolSpec>,
) -> Option<(&'a PoolSpec, Overlap)> {
    let overlaps = pools.values().filter_map(|other| Some((other, overlap(scopes, pool, other)?)));
    overlaps.min_by_key(|(_, overlap)| *overlap != Overlap::Whole)
}

/// "`linux`, `x64`".
fn list(labels: &[String]) -> String {
    let shown: Vec<String> = labels.iter().map(|label| format!("`{}`", visible(label))).collect();
    shown.join(", ")
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
    backends: (&Backends, &Budgets),
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
    let places = places(table, backends, problems);
    let placement = placement(table, problems);
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
        places: places?.into_iter().map(|of| of.place(&demand, &scope, &group, &labels)).collect(),
        placement,
        scope,
        labels,
        group,
        demand,
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

pub(crate) fn report_unknown<'k>(
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

pub(crate) fn listed(names: &[impl std::fmt::Display]) -> String {
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
