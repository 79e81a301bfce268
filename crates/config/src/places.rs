//! A pool's backends: which they are, and what its instances are made from on each.

use std::{mem, ops::Range, sync::Arc};

use dayfly_core::model::{
    BackendName, Budget, DemandSource, Detected, InstanceSpec, Place, Placement, ScopeName, Share,
    Used,
};

use crate::{
    backends::{Backends, Budgets},
    config::BackendConfig,
    instance, keys,
    mask::visible,
    pools::{listed, report_unknown},
    problem::Problems,
    table::{Table, Text, text},
    yaml::{Kind, Node, Value},
};

/// A place before it is known where its runners register, which is a part of its mark.
pub(crate) struct Unmarked {
    backend: BackendName,
    instance: InstanceSpec,
}

impl Unmarked {
    pub(crate) fn place(
        self,
        demand: &DemandSource,
        scope: &ScopeName,
        group: &str,
        labels: &[String],
    ) -> Place {
        Place {
            mark: demand.mark(&self.instance, scope, group, labels).into(),
            backend: self.backend,
            instance: Arc::new(self.instance),
        }
    }
}

/// One of the pool's backends, as it is read.
struct Named<'b> {
    backend: BackendName,
    /// `None`: there is a mistake in the backend itself.
    kind: Option<&'b BackendConfig>,
    /// How a message calls it: by name where there are several.
    called: String,
}

/// How a runner's backend is chosen.
pub(crate) fn placement(table: &Table<'_>, problems: &mut Problems) -> Placement {
    let placement = table.parsed("placement", problems, |text| match text {
        "in-order" => Ok(Placement::InOrder),
        "spread" => Ok(Placement::Spread),
        _ => Err("write in-order or spread".to_owned()),
    });
    placement.unwrap_or_default()
}

/// The pool's places, each mistake told once; `None` where there is one.
pub(crate) fn places(
    table: &Table<'_>,
    (backends, budgets): (&Backends, &Budgets),
    problems: &mut Problems,
) -> Option<Vec<Unmarked>> {
    let names = names(table, backends, problems);
    let called = |name: &BackendName| match names.len() {
        1 => "the pool's backend".to_owned(),
        _ => format!("the pool's backend `{name}`"),
    };
    let named: Vec<Named<'_>> = names
        .iter()
        .map(|name| Named {
            backend: name.clone(),
            kind: backends.get(name).and_then(Option::as_ref),
            called: called(name),
        })
        .collect();
    if named.is_empty() {
        // For the sake of its other mistakes.
        instance::read(table, None, problems);
    }
    let mut made = Vec::new();
    for place in &named {
        let mut found = Problems::default();
        let instance = instance::read(table, place.kind, &mut found);
        refuse_other_kinds(table, place, named.len() > 1, &mut found);
        if let Some((budget, detected)) = budgets.get(&place.backend) {
            check_budget(table, place, &instance, (*budget, *detected), &mut found);
        }
        problems.merge(found);
        made.push(instance);
    }
    let images = images(table, &named, backends, problems)?;
    let places = named.into_iter().zip(made).zip(images);
    let places: Vec<_> = places
        .map(|((place, instance), image)| Unmarked {
            backend: place.backend,
            instance: InstanceSpec { image, ..instance },
        })
        .collect();
    (!places.is_empty()).then_some(places)
}

fn names(table: &Table<'_>, backends: &Backends, problems: &mut Problems) -> Vec<BackendName> {
    let Some(node) = table.get("backends") else {
        let names: Vec<_> = backends.keys().cloned().collect();
        if names.len() > 1 {
            let remedy = format!("name one of the backends, or several: {}", listed(&names));
            problems.error(&table.span, "a pool has no `backends`", remedy);
            return Vec::new();
        }
        return names;
    };
    if matches!(&node.value, Value::List(nodes) if nodes.is_empty()) {
        let message = "`backends` of a pool is empty";
        problems.error(&node.span, message, "name one: `backends: [NAME]`");
    }
    let mut names = Vec::new();
    for text in table.texts("backends", problems) {
        match backends.keys().find(|name| name.as_str() == text.text) {
            Some(name) if names.contains(name) => {
                let message = format!("`backends` of a pool has `{name}` twice");
                problems.error(text.span, message, "remove one");
            }
            Some(name) => names.push(name.clone()),
            None => unknown(&text, backends, problems),
        }
    }
    names
}

fn unknown(text: &Text<'_>, backends: &Backends, problems: &mut Problems) {
    report_unknown(text, "backend", "backends", backends.keys().map(BackendName::as_str), problems);
}

/// What a runner takes must be known where it is limited, and less than all that there is.
fn check_budget(
    table: &Table<'_>,
    place: &Named<'_>,
    instance: &InstanceSpec,
    (budget, detected): (Budget, Detected),
    problems: &mut Problems,
) {
    let called = &place.called;
    let limits = [
        ("cpus", budget.cpu_millis.is_some() || detected.cpus, "processors", "2"),
        ("memory", budget.memory_bytes.is_some() || detected.memory, "memory", "4GiB"),
    ];
    for (key, limited, what, example) in limits {
        if limited && table.get(key).is_none() {
            problems.error(
                &table.span,
                format!("a pool has no `{key}`, and {called} has a budget of {what}"),
                format!("write what each of its runners takes of it, such as `{key}: {example}`"),
            );
        }
    }
    let share = Share::of(instance);
    let alone = |budget: Budget| budget.room(Used::default(), share) == 0;
    let too_much = [
        ("cpus", Budget { cpu_millis: budget.cpu_millis, ..Budget::default() }),
        ("memory", Budget { memory_bytes: budget.memory_bytes, ..Budget::default() }),
    ];
    for (key, budget) in too_much {
        if let Some(node) = table.get(key).filter(|_| alone(budget)) {
            problems.error(
                &node.span,
                format!(
                    "a runner of this pool takes more than all that {called} has as its budget"
                ),
                "write less, or give the backend a larger `budget`",
            );
        }
    }
}

/// The image for each of the pool's backends: one text, or a mapping from backends to texts.
fn images(
    table: &Table<'_>,
    named: &[Named<'_>],
    backends: &Backends,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let is_noop = |place: &Named<'_>| matches!(place.kind, Some(BackendConfig::Noop { .. }));
    let Some(node) = table.get("image") else {
        if !named.is_empty() && named.iter().all(is_noop) {
            return Some(vec!["noop".to_owned(); named.len()]);
        }
        let kind = named.first().and_then(|place| place.kind);
        return table.required("image", image_remedy(kind), problems).and(None);
    };
    if matches!(node.value, Value::Map(_)) {
        return mapped_images(table, node, named, backends, problems);
    }
    let image = checked_image(&table.text("image", problems)?, problems)?;
    let mut kinds = named.iter().filter_map(|place| place.kind).map(mem::discriminant);
    let first = kinds.next();
    if first.is_some_and(|first| kinds.any(|kind| kind != first)) {
        let names: Vec<_> = named.iter().map(|place| &place.backend).collect();
        let example: Vec<_> = names.iter().map(|name| format!("{name}: IMAGE")).collect();
        problems.error(
            &node.span,
            format!(
                "`image` is one text, and the pool's backends {} are of different kinds",
                listed(&names)
            ),
            format!("write one for each: `image: {{ {} }}`", example.join(", ")),
        );
        return None;
    }
    Some(vec![image; named.len()])
}

fn mapped_images(
    table: &Table<'_>,
    node: &Node,
    named: &[Named<'_>],
    backends: &Backends,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let mut found: Vec<(&str, Option<String>)> = Vec::new();
    for (name, node) in table.map("image", problems) {
        if !backends.keys().any(|known| known.as_str() == name.text) {
            unknown(&name, backends, problems);
        } else if !named.is_empty() && !named.iter().any(|of| of.backend.as_str() == name.text) {
            problems.warning(
                name.span,
                format!("`image` has one for backend `{}`, which the pool does not use", name.text),
                "add it to the pool's `backends`, or remove it",
            );
        }
        let image = text(node, "an image", problems);
        found.push((name.text, image.and_then(|image| checked_image(&image, problems))));
    }
    let mut images = Vec::new();
    for place in named {
        match found.iter().find(|(name, _)| *name == place.backend.as_str()) {
            Some((_, image)) => images.push(image.clone()),
            None => {
                let backend = &place.backend;
                let message = format!("`image` has none for the pool's backend `{backend}`");
                problems.error(&first_key(node), message, format!("add `{backend}: IMAGE`"));
                images.push(None);
            }
        }
    }
    images.into_iter().collect()
}

fn checked_image(image: &Text<'_>, problems: &mut Problems) -> Option<String> {
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

fn image_remedy(kind: Option<&BackendConfig>) -> &'static str {
    match kind {
        Some(BackendConfig::Process { .. }) => "write the directory of GitHub's runner program",
        Some(BackendConfig::Lxd(_)) => {
            "write an image by its alias or fingerprint: one that has GitHub's runner program, or any with `runner_version: latest`"
        }
        _ => {
            "write an image that has GitHub's runner program, such as ghcr.io/actions/actions-runner:latest"
        }
    }
}

/// Where a mapping begins.
fn first_key(node: &Node) -> Range<usize> {
    match &node.value {
        Value::Map(entries) => {
            entries.first().map_or(node.span.clone(), |(key, _)| key.span.clone())
        }
        _ => node.span.clone(),
    }
}

/// What a backend has no word for. It refuses these at each create; here they are found at once.
fn refuse_other_kinds(
    table: &Table<'_>,
    place: &Named<'_>,
    is_one_of_several: bool,
    problems: &mut Problems,
) {
    const APART: &str = "remove it, or make a pool of its own for that backend";
    let called = &place.called;
    let remedy = |alone| if is_one_of_several { APART } else { alone };
    let neither = || match is_one_of_several {
        true => format!("for LXD and Incus alone, and {called} is neither"),
        false => "for LXD and Incus alone".to_owned(),
    };
    let lxd_alone = remedy("remove it, or use a backend `lxd` or `incus`");
    match place.kind {
        Some(BackendConfig::Process { .. }) => {
            let which = format!("not for plain processes, which {called} makes");
            let alone = remedy("remove it, or use a backend that makes containers");
            refuse(table, keys::CONTAINER_ONLY, &which, alone, problems);
            refuse(table, keys::LXD_ONLY, &neither(), lxd_alone, problems);
        }
        Some(BackendConfig::Lxd(_)) => {
            let which = match is_one_of_several {
                true => format!("nothing that LXD knows, and {called} is one"),
                false => "nothing that LXD knows".to_owned(),
            };
            let alone =
                remedy("remove it: `config` and `devices` take what LXD has, in its own words");
            refuse(table, keys::NOT_LXD, &which, alone, problems);
        }
        Some(BackendConfig::Docker(_) | BackendConfig::Noop { .. }) => {
            refuse(table, keys::LXD_ONLY, &neither(), lxd_alone, problems);
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
