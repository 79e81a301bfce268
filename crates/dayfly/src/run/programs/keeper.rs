//! Which runner program each pool's instances get, looked after while the daemon runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dayfly_config::Config;
use dayfly_core::model::{Program, ProgramState, ScopeName, Spec};
use dayfly_engine::Handle;
use dayfly_github::{Downloader, GitHub, OfferedProgram};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{archive::Archive, cache::Cache};

/// How long GitHub's list is believed: it gives a version 30 days after the next one came.
const ASKED_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// How soon it is asked again after a failure.
const ASKED_AGAIN: Duration = Duration::from_secs(300);

/// For how long GitHub takes a version once the next one is there (protocol.md, 4.6).
const TAKEN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A program that pools of a scope want: the pinned version, where there is one, and its sum, where the user gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Want {
    scope: ScopeName,
    pinned: Option<String>,
    sha256: Option<String>,
}

impl Want {
    fn of(scope: &ScopeName, program: &Program) -> Self {
        let (pinned, sha256) = (program.pinned.clone(), program.sha256.clone());
        Self { scope: scope.clone(), pinned, sha256 }
    }

    fn is(&self, archive: &Archive) -> bool {
        self.pinned.as_ref().is_none_or(|version| *version == archive.version)
            && self.sha256.as_ref().is_none_or(|sum| *sum == archive.sha256)
    }
}

/// What there is of a wanted program.
#[derive(Debug, Clone)]
struct Have {
    archive: Option<Archive>,
    /// From when on GitHub refuses it, as far as that is known.
    refused_from: Option<Timestamp>,
    /// Why there is none, or why it is not known whether there is a newer one.
    trouble: Option<String>,
}

/// Keeps the programs that a configuration's pools want.
pub struct Keeper {
    spec: Spec,
    forges: BTreeMap<ScopeName, Arc<GitHub>>,
    caches: BTreeMap<ScopeName, Cache>,
    downloader: Downloader,
    have: BTreeMap<Want, Have>,
}

impl Keeper {
    /// Reads what lies on the disk; asks nobody. `None` where no pool wants a program.
    pub async fn open(
        config: &Config,
        forges: &BTreeMap<ScopeName, Arc<GitHub>>,
    ) -> anyhow::Result<Option<Self>> {
        let wants: BTreeSet<Want> = config
            .spec
            .pools
            .values()
            .filter_map(|pool| pool.program().map(|program| Want::of(&pool.scope, program)))
            .collect();
        if wants.is_empty() {
            return Ok(None);
        }
        let directory = config.store.with_extension("programs");
        let caches: BTreeMap<ScopeName, Cache> = wants
            .iter()
            .filter_map(|want| {
                let host = forges.get(&want.scope)?.address().rest_base().authority().to_owned();
                let directory = directory.join(plain(&host));
                Some((want.scope.clone(), Cache::new(directory, architecture())))
            })
            .collect();
        let mut found = BTreeMap::new();
        for (scope, cache) in &caches {
            let cache = cache.clone();
            let read = tokio::task::spawn_blocking(move || cache.verified()).await?;
            let archives = read.unwrap_or_else(|error| {
                warn!("runner programs can't be read: {}", unusable(&directory, &error));
                Vec::new()
            });
            found.insert(scope.clone(), archives);
        }
        let have = wants.into_iter().map(|want| {
            let known = found.get(&want.scope).into_iter().flatten();
            let archive =
                known.filter(|archive| want.is(archive)).max_by_key(|known| known.order());
            let trouble = "it was not fetched yet".to_owned();
            let have =
                Have { archive: archive.cloned(), refused_from: None, trouble: Some(trouble) };
            (want, have)
        });
        Ok(Some(Self {
            spec: config.spec.clone(),
            forges: forges.clone(),
            caches,
            downloader: Downloader::new()?,
            have: have.collect(),
        }))
    }

    /// What the pools' instances are made from now.
    pub fn spec(&self) -> Spec {
        self.spec.with_programs(|scope, program| match self.have.get(&Want::of(scope, program)) {
            Some(Have { archive: Some(archive), refused_from, .. }) => ProgramState::Ready {
                version: archive.version.clone(),
                sha256: archive.sha256.clone(),
                file: archive.file.clone(),
                refused_from: *refused_from,
            },
            Some(Have { trouble, .. }) => {
                ProgramState::Missing { why: trouble.clone().unwrap_or_default() }
            }
            None => program.state.clone(),
        })
    }

    /// What came of each program that is wanted: its words, or why it is not to be had.
    pub fn told(&self) -> Vec<(ScopeName, Result<String, String>)> {
        let told = |have: &Have| match (&have.archive, &have.trouble) {
            (Some(archive), None) => Ok(match have.refused_from {
                Some(from) => {
                    format!("{}, which GitHub refuses from {from:.0} on", archive.version)
                }
                None => archive.version.clone(),
            }),
            (_, trouble) => Err(trouble.clone().unwrap_or_default()),
        };
        self.have.iter().map(|(want, have)| (want.scope.clone(), told(have))).collect()
    }

    /// Looks after the programs until `ending`. What is at hand stays in use while GitHub can't be asked.
    pub async fn keep(mut self, handle: Handle, ending: CancellationToken) {
        let keeping = async {
            let mut known = self.spec();
            loop {
                // Creates that were begun may still read what was in use until now.
                let mut used = self.archives();
                let mut is_well = true;
                for want in self.wants() {
                    is_well &= self.refresh_one(&want).await;
                    // One that takes long to come holds up no pool that wants another.
                    let spec = self.spec();
                    if spec != known {
                        if handle.remake(Arc::new(spec.clone())).await.is_err() {
                            // The daemon is ending, and ends this.
                            std::future::pending::<()>().await;
                        }
                        known = spec;
                    }
                }
                used.extend(self.archives());
                self.tidy(&used);
                sleep(if is_well { ASKED_EVERY } else { ASKED_AGAIN }).await;
            }
        };
        ending.run_until_cancelled(keeping).await;
    }

    /// Asks GitHub for every program that is wanted, and fetches what is not here. Nothing is removed, for a daemon may use it.
    /// Whether all went well.
    pub async fn refresh(&mut self) -> bool {
        let mut is_well = true;
        for want in self.wants() {
            is_well &= self.refresh_one(&want).await;
        }
        is_well
    }

    /// What is wanted: first what is at hand, and only looked after.
    fn wants(&self) -> Vec<Want> {
        let (here, missing): (Vec<_>, Vec<_>) =
            self.have.iter().partition(|(_, have)| have.archive.is_some());
        here.into_iter().chain(missing).map(|(want, _)| want.clone()).collect()
    }

    /// What is in use.
    pub(super) fn archives(&self) -> Vec<Archive> {
        self.have.values().filter_map(|have| have.archive.clone()).collect()
    }

    /// Asks GitHub for a program that is wanted, and fetches it where it is not here. Whether that went well.
    async fn refresh_one(&mut self, want: &Want) -> bool {
        let Some(before) = self.have.get(want).cloned() else { return true };
        let mut is_well = true;
        let after = match self.look(want, before.archive.as_ref()).await {
            Ok(have) => have,
            Err(trouble) => {
                is_well = false;
                warn!(scope = %want.scope, "the runner program can't be kept new: {trouble}");
                Have { trouble: Some(trouble), ..before.clone() }
            }
        };
        if let Some(archive) = &after.archive {
            if before.archive.as_ref() != Some(archive) {
                info!(scope = %want.scope, version = archive.version, "a runner program is at hand: free runners with another one are replaced");
            }
            if let Some(from) = after.refused_from {
                warn!(scope = %want.scope, version = archive.version, "GitHub refuses the runner program from {from:.0} on: name a newer version");
            }
        }
        self.have.insert(want.clone(), after);
        is_well
    }

    /// Removes what no scope on the same server uses any more.
    pub(super) fn tidy(&self, used: &[Archive]) {
        for cache in self.caches.values() {
            match cache.keep_only(used) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!("old runner programs can't be removed: {error}");
                }
                _ => {}
            }
        }
    }

    async fn look(&self, want: &Want, at_hand: Option<&Archive>) -> Result<Have, String> {
        let (Some(forge), Some(cache)) =
            (self.forges.get(&want.scope), self.caches.get(&want.scope))
        else {
            return Err("its scope has no credential".to_owned());
        };
        let newest =
            forge.newest_program(architecture()).await.map_err(|error| error.to_string())?;
        let (program, sum) = choose(want, at_hand, &newest)?;
        let same = |known: &&Archive| known.version == program.version && known.sha256 == sum;
        // Somebody may have tidied up.
        let here = at_hand.filter(same).filter(|known| known.file.exists());
        let archive = match here {
            Some(archive) => archive.clone(),
            None => cache.fetch(&self.downloader, &program, &sum).await?,
        };
        let refused_from = refused_from(forge, cache, &archive, &newest).await;
        Ok(Have { archive: Some(archive), refused_from, trouble: None })
    }
}

/// The program that is wanted, and the sum that it must have: the user's, or that which one at hand was checked against before
/// GitHub had a newer one, or GitHub's.
fn choose(
    want: &Want,
    at_hand: Option<&Archive>,
    newest: &OfferedProgram,
) -> Result<(OfferedProgram, String), String> {
    let no_sum = |version: &str, why: &str| {
        format!(
            "{why} of runner program {version}: name the version and add its `runner_sha256`, which the release's page has"
        )
    };
    let checked = at_hand.filter(|known| want.pinned.as_ref() == Some(&known.version));
    let sum = want.sha256.as_ref().or_else(|| checked.map(|known| &known.sha256));
    match (&want.pinned, sum) {
        (Some(version), Some(sum)) if *version != newest.version => newest
            .at_version(version, sum)
            .map(|program| (program, sum.clone()))
            .ok_or_else(|| format!("it is not known where runner program {version} lies")),
        (Some(version), None) if *version != newest.version => {
            let why =
                format!("GitHub tells the sum of its newest version, {}, and not", newest.version);
            Err(no_sum(version, &why))
        }
        (_, Some(sum)) => Ok((newest.clone(), sum.clone())),
        (_, None) => match &newest.sha256 {
            Some(sum) => Ok((newest.clone(), sum.clone())),
            None => Err(no_sum(&newest.version, "GitHub tells no sum")),
        },
    }
}

/// From when on GitHub refuses an archive's version: as it tells, else reckoned from when a newer one was seen.
async fn refused_from(
    forge: &GitHub,
    cache: &Cache,
    archive: &Archive,
    newest: &OfferedProgram,
) -> Option<Timestamp> {
    match forge.program_refused_from(&archive.version).await {
        Ok(Some(from)) => return Some(from),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "it is not known until when a version is taken"),
    }
    cache.note_seen(&newest.version).ok()?;
    cache.newer_since(archive).ok()??.checked_add(TAKEN).ok()
}

fn unusable(directory: &Path, error: &io::Error) -> String {
    format!("{}: {error}", directory.display())
}

/// What becomes the name of a directory.
fn plain(host: &str) -> PathBuf {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    host.chars().map(|c| if plain(c) { c } else { '_' }).collect::<String>().into()
}

/// This machine's processors, in GitHub's words: instances are taken to have the same.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(sum: Option<&str>) -> OfferedProgram {
        OfferedProgram {
            version: "2.330.0".to_owned(),
            url: "https://github.com/actions/runner/releases/download/v2.330.0/a-2.330.0.tar.gz"
                .parse()
                .unwrap(),
            sha256: sum.map(str::to_owned),
            token: None,
        }
    }

    #[test]
    fn no_program_is_used_without_a_sum() {
        let check = |pinned: Option<&str>,
                     sha256: Option<&str>,
                     told: Option<&str>,
                     expected: Result<(&str, &str), &str>| {
            let scope = ScopeName::new("acme").unwrap();
            let want = Want {
                scope,
                pinned: pinned.map(str::to_owned),
                sha256: sha256.map(str::to_owned),
            };
            let at_hand = Archive::in_directory(Path::new("cache"), "x64", "2.328.0", "cc");
            match (choose(&want, Some(&at_hand), &newest(told)), expected) {
                (Ok((program, sum)), Ok(expected)) => {
                    assert_eq!((program.version.as_str(), sum.as_str()), expected);
                    assert!(program.url.as_str().contains(&format!("/v{}/", program.version)));
                }
                (Err(said), Err(words)) => assert!(said.contains(words), "{said}"),
                (chosen, expected) => panic!("{chosen:?}, not {expected:?}"),
            }
        };
        check(None, None, Some("aa"), Ok(("2.330.0", "aa")));
        check(None, None, None, Err("runner_sha256"));
        check(Some("2.330.0"), None, Some("aa"), Ok(("2.330.0", "aa")));
        check(Some("2.330.0"), None, None, Err("runner_sha256"));
        // The user's word goes before GitHub's.
        check(Some("2.330.0"), Some("bb"), Some("aa"), Ok(("2.330.0", "bb")));
        check(Some("2.329.0"), Some("bb"), Some("aa"), Ok(("2.329.0", "bb")));
        check(Some("2.329.0"), None, Some("aa"), Err("its newest version, 2.330.0"));
        // GitHub told the sum of what is at hand while that was its newest.
        check(Some("2.328.0"), None, Some("aa"), Ok(("2.328.0", "cc")));
        check(Some("2.328.0"), Some("bb"), Some("aa"), Ok(("2.328.0", "bb")));
    }
}
