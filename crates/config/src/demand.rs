//! `demand`: where a pool learns how many runners it should have, and what that needs.

use std::collections::BTreeSet;

use dayfly_core::model::{DemandSource, PoolSpec, ScopeKind, ScopeSpec};

use crate::{github::Scopes, mask::visible, problem::Problems, table::Table};

/// Sources of demand that a later version has.
const LATER_SOURCES: [&str; 2] = ["poll", "queue"];

/// Where a pool learns how many runners it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    ScaleSet,
    Fixed,
    Webhook,
}

/// What the pool says of it.
pub(crate) fn source(table: &Table<'_>, problems: &mut Problems) -> Source {
    const WRITE: &str = "write scale-set, webhook or fixed";
    let Some(source) = table.text("demand", problems) else { return Source::ScaleSet };
    match source.text {
        "scale-set" => {}
        "fixed" => return Source::Fixed,
        "webhook" => return Source::Webhook,
        later if LATER_SOURCES.contains(&later) => {
            let message = format!("demand `{later}` is not in this version");
            problems.error(source.span, message, format!("{WRITE}, or leave `demand` out"));
        }
        other => {
            let message = format!("`demand` can't be `{}`", visible(other));
            problems.error(source.span, message, WRITE);
        }
    }
    Source::ScaleSet
}

/// Keys that only a pool on a scale set can heed.
pub(crate) fn refuse_scale_set_keys(table: &Table<'_>, source: Source, problems: &mut Problems) {
    let word = if source == Source::Fixed { "fixed" } else { "webhook" };
    for key in ["scale_set", "adopt"] {
        if let Some(node) = table.get(key) {
            problems.error(
                &node.span,
                format!("`{key}` is not for a pool with `demand: {word}`, which has no scale set"),
                "remove it, or write `demand: scale-set`",
            );
        }
    }
}

/// What a pool that hears of its jobs by webhooks needs elsewhere in the file.
pub(crate) fn check_webhooks(
    table: &Table<'_>,
    scope: Option<&ScopeSpec>,
    hears: bool,
    problems: &mut Problems,
) {
    let place = table.get("demand").map_or(table.span.clone(), |node| node.span.clone());
    if !hears {
        problems.error(
            &place,
            "a pool with `demand: webhook` hears of no job: no webhooks are taken",
            "write `server: { listen: ADDRESS:PORT, webhook_secret: file:PATH }`, and make the webhook by `dayfly webhook install`",
        );
    }
    let names_none = scope.is_some_and(|scope| {
        matches!(scope.kind, ScopeKind::Enterprise(_)) && scope.repositories.is_empty()
    });
    if names_none {
        problems.error(
            &place,
            "a pool with `demand: webhook` is of an enterprise that names no `repositories`",
            "name them in the scope: GitHub can't be asked which an enterprise has",
        );
    }
}

/// What the file calls a source of demand.
pub(crate) fn word(demand: &DemandSource) -> &'static str {
    match demand {
        DemandSource::ScaleSet(_) => "scale-set",
        DemandSource::Fixed => "fixed",
        DemandSource::Webhook => "webhook",
    }
}

/// Jobs that pools of different sources can both take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// All that ask for every label of one of them can go to the other.
    Whole,
    /// Those that ask for none but these labels, in small letters, and maybe for `self-hosted`.
    Part(Vec<String>),
}

/// Which jobs pools of different sources can both take. Each would see to it that they have a runner. `self-hosted`, which every
/// pool has, is no overlap.
pub(crate) fn overlap(scopes: &Scopes, one: &PoolSpec, other: &PoolSpec) -> Option<Overlap> {
    let url = |pool: &PoolSpec| {
        scopes.specs.get(&pool.scope).map(|scope| format!("{}/", scope.url.to_lowercase()))
    };
    let (one_url, other_url) = (url(one)?, url(other)?);
    if word(&one.demand) == word(&other.demand)
        || !(one_url.starts_with(&other_url) || other_url.starts_with(&one_url))
    {
        return None;
    }
    let labels = |pool: &PoolSpec| -> BTreeSet<String> {
        pool.all_labels().iter().map(|label| label.to_lowercase()).collect()
    };
    let (one, other) = (labels(one), labels(other));
    if one.is_subset(&other) || other.is_subset(&one) {
        return Some(Overlap::Whole);
    }
    let both = one.intersection(&other).filter(|label| *label != "self-hosted");
    let both: Vec<String> = both.cloned().collect();
    (!both.is_empty()).then_some(Overlap::Part(both))
}
