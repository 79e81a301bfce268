//! outrunner's `config.yml` (its `docs/reference/configuration.md`): a scale set for each runner, by Docker, libvirt or Tart.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::FlowSeq;

use super::{
    draft::{Auth, Backend, Draft, Empty, Mount, Pool, shown},
    names, told,
};

/// `--max-runners` where nobody says it.
const MAX_RUNNERS: u32 = 2;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    token_file: Option<String>,
    #[serde(default)]
    runners: BTreeMap<String, Runner>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Runner {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    token_file: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    max_runners: Option<u32>,
    #[serde(default)]
    docker: Option<Docker>,
    #[serde(default)]
    libvirt: Option<Value>,
    #[serde(default)]
    tart: Option<Value>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Docker {
    image: String,
    #[serde(default)]
    runner_cmd: Option<String>,
    #[serde(default)]
    mounts: Vec<DockerMount>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct DockerMount {
    source: String,
    target: String,
    #[serde(default)]
    read_only: bool,
}

/// Reads the file.
pub fn read(text: &str, url: Option<&str>) -> Result<Draft, String> {
    let config: Config = serde_saphyr::from_str(text).map_err(|error| told(&error))?;
    if config.runners.is_empty() {
        return Err("it has no `runners`".to_owned());
    }
    let mut draft = Draft::default();
    draft.unknown("", config.rest.keys());
    for (name, runner) in &config.runners {
        add(&mut draft, &config, url, name, runner);
    }
    Ok(draft)
}

fn add(draft: &mut Draft, config: &Config, url: Option<&str>, name: &str, runner: &Runner) {
    let place = format!("runner `{}`: ", shown(name));
    draft.unknown(&place, runner.rest.keys());
    for (kind, of) in [("libvirt", &runner.libvirt), ("tart", &runner.tart)] {
        if of.is_some() {
            draft.note(format!(
                "{place}left out, for dayfly has no `{kind}` backend in this version"
            ));
        }
    }
    let Some(docker) = &runner.docker else { return };
    draft.unknown(&place, docker.rest.keys());
    // 0 is outrunner's word for its own.
    let max = runner.max_runners.filter(|max| *max > 0);
    if max.is_none() {
        draft.note(format!(
            "{place}`max` is outrunner's own {MAX_RUNNERS}: put what you gave by `--max-runners` in its place"
        ));
    }
    let token = runner.token_file.as_ref().or(config.token_file.as_ref());
    let auth = if let Some(path) = token {
        Auth::Token(format!("file:{path}"))
    } else {
        draft.note(
            "the token is read from /etc/dayfly/github-token: put it there, with `chmod 600`",
        );
        Auth::Token("file:/etc/dayfly/github-token".to_owned())
    };
    let of = runner.url.as_deref().or(url).or(config.url.as_deref());
    let scope = draft.scope(of, auth);
    draft.backends.insert("docker".to_owned(), Backend::Docker(Empty {}).into());
    let pool = draft.pool_name(name);
    draft.pools.push(Pool {
        github: scope,
        labels: FlowSeq(names::labels(runner.labels.iter().map(String::as_str))),
        group: None,
        demand: "scale-set",
        scale_set: (pool != *name).then(|| name.to_owned()),
        adopt: true,
        name: pool,
        priority: None,
        backends: FlowSeq(vec!["docker".to_owned()]),
        image: docker.image.clone(),
        instance: None,
        profiles: None,
        runner_version: None,
        command: docker.runner_cmd.clone().filter(|command| command != "./run.sh"),
        mounts: docker
            .mounts
            .iter()
            .map(|DockerMount { source, target, read_only }| Mount {
                source: source.clone(),
                target: target.clone(),
                read_only: *read_only,
            })
            .collect(),
        min_idle: None,
        max: max.unwrap_or(MAX_RUNNERS),
    });
    draft.note("end outrunner before dayfly is started: by `adopt`, dayfly takes its scale sets over once they have no session and no runners");
}
