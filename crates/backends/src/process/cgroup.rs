//! An instance's control group, where the kernel and our rights allow one: limits, and a sure way to kill.
//!
//! Both versions of control groups are served, also beside each other. A group stands directly below the root of its
//! hierarchy, so that whatever ends the daemon's own group leaves the instances alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use dayfly_core::model::{InstanceSpec, RunnerName};

/// The group above all instances.
const PARENT: &str = "dayfly";

/// The period of the processor limit, in microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;

/// Where the hierarchies are mounted.
#[derive(Debug, Default)]
struct Hierarchies {
    /// Version 2, with the controllers that it has.
    unified: Option<(PathBuf, BTreeSet<String>)>,
    /// Version 1, by controller.
    single: BTreeMap<String, PathBuf>,
}

impl Hierarchies {
    fn mounted() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn parse(mounts: &str, controllers: impl Fn(&Path) -> String) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            let Some((mount, kind)) = line.split_once(" - ") else { continue };
            let (Some(point), Some(kind), Some(options)) =
                (mount.split(' ').nth(4), kind.split(' ').next(), kind.split(' ').next_back())
            else {
                continue;
            };
            let point = PathBuf::from(point);
            match kind {
                "cgroup2" => {
                    let has = controllers(&point).split_whitespace().map(str::to_owned).collect();
                    found.unified = Some((point, has));
                }
                "cgroup" => {
                    for option in options.split(',') {
                        found.single.insert(option.to_owned(), point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Every directory that a runner's group may have.
    fn groups(&self, runner: &RunnerName) -> Vec<PathBuf> {
        let roots = self
            .unified
            .iter()
            .map(|(root, _)| root)
            .chain(LIMITED.iter().filter_map(|c| self.single.get(*c)));
        let groups: BTreeSet<PathBuf> =
            roots.map(|root| root.join(PARENT).join(runner.as_str())).collect();
        groups.into_iter().collect()
    }
}

/// The controllers that limits are set with.
const LIMITED: [&str; 3] = ["cpu", "memory", "pids"];

/// Makes the runner's groups with its limits; gives the files that take processes in.
///
/// # Errors
/// Where a limit was asked for and can't be set. Without limits a group is a help and not a need.
pub(super) fn make(runner: &RunnerName, spec: &InstanceSpec) -> Result<Vec<PathBuf>, String> {
    let hierarchies = Hierarchies::mounted();
    let mut groups = BTreeSet::new();
    for limit in limits(spec) {
        let group = limited(&hierarchies, runner, &limit).map_err(|error| {
            format!("no limit on {} can be set here: {error}", limit.controller)
        })?;
        groups.insert(group);
    }
    if let Some((root, _)) = &hierarchies.unified {
        let group = root.join(PARENT).join(runner.as_str());
        if fs::create_dir_all(&group).is_ok() {
            groups.insert(group);
        }
    }
    Ok(groups.into_iter().map(|group| group.join("cgroup.procs")).collect())
}

/// One limit, as both versions spell it.
struct Limit {
    controller: &'static str,
    unified: (&'static str, String),
    single: Vec<(&'static str, String)>,
}

fn limits(spec: &InstanceSpec) -> Vec<Limit> {
    let mut limits = Vec::new();
    if let Some(millis) = spec.cpu_millis {
        let quota = millis.saturating_mul(CPU_PERIOD_US) / 1_000;
        limits.push(Limit {
            controller: "cpu",
            unified: ("cpu.max", format!("{quota} {CPU_PERIOD_US}")),
            single: vec![
                ("cpu.cfs_period_us", CPU_PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
        });
    }
    if let Some(bytes) = spec.memory_bytes {
        limits.push(Limit {
            controller: "memory",
            unified: ("memory.max", bytes.to_string()),
            single: vec![("memory.limit_in_bytes", bytes.to_string())],
        });
    }
    if let Some(pids) = spec.pids {
        limits.push(Limit {
            controller: "pids",
            unified: ("pids.max", pids.to_string()),
            single: vec![("pids.max", pids.to_string())],
        });
    }
    limits
}

fn limited(hierarchies: &Hierarchies, runner: &RunnerName, limit: &Limit) -> io::Result<PathBuf> {
    let write = |file: PathBuf, text: &str| {
        fs::write(&file, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    };
    if let Some((root, _)) =
        hierarchies.unified.as_ref().filter(|(_, has)| has.contains(limit.controller))
    {
        let group = root.join(PARENT).join(runner.as_str());
        fs::create_dir_all(&group)?;
        for parent in [root.clone(), root.join(PARENT)] {
            write(parent.join("cgroup.subtree_control"), &format!("+{}", limit.controller))?;
        }
        write(group.join(limit.unified.0), &limit.unified.1)?;
        return Ok(group);
    }
    let Some(root) = hierarchies.single.get(limit.controller) else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the kernel has no such control group mounted",
        ));
    };
    let group = root.join(PARENT).join(runner.as_str());
    fs::create_dir_all(&group)?;
    for (file, text) in &limit.single {
        write(group.join(file), text)?;
    }
    Ok(group)
}

/// The processes in the runner's groups.
pub(super) fn members(runner: &RunnerName) -> BTreeSet<i32> {
    let groups = Hierarchies::mounted().groups(runner);
    let procs =
        groups.iter().filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
    procs
        .flat_map(|text| text.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Kills the runner's group at once, where the kernel can (Linux 5.14, version 2).
pub(super) fn kill(runner: &RunnerName) {
    if let Some((root, _)) = Hierarchies::mounted().unified {
        // Where there is no such file or group, its members are killed one by one.
        let _ = fs::write(root.join(PARENT).join(runner.as_str()).join("cgroup.kill"), "1");
    }
}

/// Removes the runner's groups; absent is success.
///
/// # Errors
/// Where a process is still in one.
pub(super) fn remove(runner: &RunnerName) -> io::Result<()> {
    for group in Hierarchies::mounted().groups(runner) {
        match fs::remove_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the kernel killed a process of the runner's group for want of memory.
pub(super) fn killed_for_memory(runner: &RunnerName) -> bool {
    let groups = Hierarchies::mounted().groups(runner);
    let files = groups
        .iter()
        .flat_map(|group| [group.join("memory.events"), group.join("memory.oom_control")]);
    files.filter_map(|file| fs::read_to_string(file).ok()).any(|text| {
        text.lines()
            .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      odd\n";
        let found = Hierarchies::parse(mounts, |_| "pids memory\n".to_owned());
        let (root, has) = found.unified.unwrap();
        assert_eq!(root, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(has, ["memory".to_owned(), "pids".to_owned()].into());
        assert_eq!(found.single["cpu"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    }
}
