//! Making an instance's directory and starting its keeper.

use std::{env, fs, io, os::unix::fs::OpenOptionsExt, path::Path, process::Stdio, time::Duration};

use dayfly_core::{
    model::InstanceSpec,
    ports::{BackendError, BackendErrorKind, CreateRequest, Created, InstanceStatus},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::{
    process::{Child, Command},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    backend::Process,
    cgroup, destroy,
    directory::{Directory, Tag},
    fault,
    kernel::{self, MARK},
    populate::copy_tree,
    tail,
};
use crate::{
    console::LAST_OUTPUT_LINES,
    failure::failure,
    waiter::{DEFAULT_COMMAND, SCRIPT},
};

/// The keeper's script.
const KEEP: &str = include_str!("keep.sh");

/// How long a keeper may take to write down that it runs: it has only to be scheduled.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// The path of programs where the daemon has none itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn create(
    backend: &Process,
    request: CreateRequest<'_>,
) -> Result<Created, BackendError> {
    let CreateRequest { runner, pool, spec } = request;
    let operation = format!("create instance {runner}");
    refuse_what_is_not_there(&operation, spec)?;
    let directory = backend.directory(runner);
    let tag = match directory.tag()? {
        Some(tag) if tag.controller != backend.controller => {
            let detail = format!("{} is another controller's", directory.path.display());
            return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
        }
        Some(tag) => tag,
        None => {
            let tag = Tag {
                controller: backend.controller,
                pool: pool.clone(),
                runner: runner.clone(),
                boot: kernel::boot(),
            };
            directory
                .make(&tag)
                .map_err(|error| fault::on_file(&operation, &directory.path, &error))?;
            tag
        }
    };
    let id = directory.id(&tag);
    match directory.record(backend.controller)?.map(|record| record.status) {
        Some(InstanceStatus::Running) => return Ok(Created { id, ready: true }),
        Some(InstanceStatus::Ended(_)) => return Ok(Created { id, ready: false }),
        // Just made; or the crash that leads here is between the making and the keeper's start.
        Some(InstanceStatus::Booting | InstanceStatus::Away) | None => {}
    }
    match fill_and_start(&directory, spec, &operation).await {
        Ok(()) => Ok(Created { id, ready: true }),
        Err(failed) => {
            // No later start would fare better, and nothing runs in it.
            if let Err(error) = destroy::destroy(&directory, backend.controller).await {
                tracing::warn!(%runner, %error, "the instance that would not start could not be removed yet");
            }
            Err(failed)
        }
    }
}

/// What only an engine can give.
fn refuse_what_is_not_there(operation: &str, spec: &InstanceSpec) -> Result<(), BackendError> {
    let asked = [
        ("network", spec.network.is_some()),
        ("mounts", !spec.mounts.is_empty()),
        ("tmpfs", !spec.tmpfs.is_empty()),
        ("capabilities", !spec.capabilities_add.is_empty() || !spec.capabilities_drop.is_empty()),
        ("devices", !spec.devices.is_empty()),
        ("user", spec.user.is_some()),
        ("read_only", spec.read_only_root),
        ("privileged", spec.privileged),
        ("runtime", spec.runtime.is_some()),
        ("init", spec.init),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((what, _)) => {
            let detail = format!(
                "`{what}` is not for plain processes: leave it out, or use a backend with containers"
            );
            Err(failure(BackendErrorKind::NotAllowed, operation, detail))
        }
    }
}

async fn fill_and_start(
    directory: &Directory,
    spec: &InstanceSpec,
    operation: &str,
) -> Result<(), BackendError> {
    let command = fill(directory, spec, operation).await?;
    let groups = cgroup::make(&directory.runner, spec)
        .map_err(|error| failure(BackendErrorKind::NotAllowed, operation, error))?;
    let groups: Vec<String> = groups.iter().map(|file| file.display().to_string()).collect();
    let keeper = spawn(directory, spec, &groups.join("\n"), &command)
        .map_err(|error| fault::of_system(&format!("{operation}: start setsid"), &error))?;
    started(directory, keeper, operation).await
}

/// Puts into the directory what the instance needs; gives the runner's program and arguments.
async fn fill(
    directory: &Directory,
    spec: &InstanceSpec,
    operation: &str,
) -> Result<Vec<String>, BackendError> {
    let image = Path::new(&spec.image);
    let missing = |detail: String| failure(BackendErrorKind::ImageMissing, operation, detail);
    let metadata =
        fs::metadata(image).map_err(|error| missing(format!("{}: {error}", image.display())))?;
    if !image.is_absolute() {
        return Err(missing(format!(
            "{}: write the whole path of the runner program",
            image.display()
        )));
    }
    let home = directory.home();
    let mut command = spec.command.clone();
    if metadata.is_dir() {
        if command.is_empty() {
            command.push(DEFAULT_COMMAND.to_owned());
        }
        let (from, to) = (image.to_owned(), home.clone());
        let copied = spawn_blocking(move || copy_tree(&from, &to)).await;
        copied.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
            fault::on_file(&format!("{operation}: copy the runner program"), image, &error)
        })?;
    } else {
        command.insert(0, spec.image.clone());
    }
    let failed = |error| fault::on_file(operation, &directory.path, &error);
    fs::create_dir_all(&home).map_err(failed)?;
    fs::create_dir_all(directory.temporary()).map_err(failed)?;
    match mknodat(CWD, directory.input(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        // Of an earlier try.
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(failed(error.into())),
    }
    Ok(command)
}

/// Starts the keeper as the leader of a session of its own, with an environment that holds nothing of the daemon's but
/// the path of programs and the language.
fn spawn(
    directory: &Directory,
    spec: &InstanceSpec,
    groups: &str,
    command: &[String],
) -> io::Result<Child> {
    let console =
        fs::OpenOptions::new().create(true).append(true).mode(0o600).open(directory.console())?;
    let daemon = |name: &str, other: &str| env::var_os(name).unwrap_or_else(|| other.into());
    Command::new("setsid")
        .args(["/bin/sh", "-c", KEEP, "dayfly"])
        .arg(&directory.path)
        .args([groups, SCRIPT])
        .args(command)
        .env_clear()
        .env("PATH", daemon("PATH", PATH))
        .env("LANG", daemon("LANG", "C.UTF-8"))
        .env("HOME", directory.home())
        .env("TMPDIR", directory.temporary())
        .envs(&spec.environment)
        .env(MARK, directory.runner.as_str())
        .current_dir(&directory.path)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
}

/// Waits until the keeper wrote down that it runs. The child is then let go: tokio reaps it when it ends, and else
/// nothing hangs on it, as after a restart.
async fn started(
    directory: &Directory,
    mut keeper: Child,
    operation: &str,
) -> Result<(), BackendError> {
    let wrote = async {
        let mut pause = Duration::from_millis(1);
        while directory.start().is_none() {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    };
    let ended = tokio::select! {
        result = timeout(START_TIME_MAX, wrote) => match result {
            Ok(()) => return Ok(()),
            Err(_) => "the keeper did not start in time".to_owned(),
        },
        ended = keeper.wait() => ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
    };
    if directory.start().is_some() {
        // It started and ended; that is for the watch to tell.
        return Ok(());
    }
    let said = tail::last(&directory.console(), LAST_OUTPUT_LINES).join("; ");
    Err(failure(
        BackendErrorKind::NotAllowed,
        operation,
        format!("the keeper did not start: {ended}: {said}"),
    ))
}
