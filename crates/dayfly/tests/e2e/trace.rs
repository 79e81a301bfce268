//! What a program asked of the kernel, as `strace` saw it, and the order that must hold in it: what an effect stands on has
//! reached the disk before the effect begins.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    processes::wait_until,
    site::{Making, Setup, Site},
};

/// What is traced: the store's writes and syncs, and whatever can be an effect.
const CALLS: &str = "pwrite64,pwritev,fsync,fdatasync,write,writev,sendto,sendmsg,mkdir,mkdirat,rename,renameat,renameat2,execve,connect";

/// Puts `strace` before a command. It traces as the command's child, so that signals go to the command itself.
fn traced(command: &Command, into: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-y", "-s", "65536", "-e"]).arg(format!("trace={CALLS}"));
    strace.arg("-o").arg(into).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(Stdio::null());
    strace
}

/// The calls in the order in which they began, each with the places of its begin and of its return among all lines.
#[derive(Debug)]
struct Call<'a> {
    began: usize,
    returned: Option<usize>,
    begin: &'a str,
    /// What came back, with what `strace` tells at the return.
    end: &'a str,
}

impl Call<'_> {
    /// Whether it is of this kind, on a file or socket of that name.
    fn is(&self, names: &[&str], on: &str) -> bool {
        let (name, arguments) = self.begin.split_once('(').unwrap_or((self.begin, ""));
        let file = arguments.split(", ").next().unwrap_or_default();
        names.contains(&name) && file.contains(on)
    }

    /// Its first words: what follows may hold a token.
    fn shown(&self) -> String {
        self.begin.split(r"\r\n").next().unwrap_or_default().chars().take(300).collect()
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.begin.contains(word))
    }
}

/// Reads what `strace -f` wrote: a call of one thread may be interrupted by lines of others.
fn calls(text: &str) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(at) = open.iter().position(|(of, _)| *of == thread) {
                let (_, call) = open.remove(at);
                calls[call].returned = Some(place);
                calls[call].end = rest;
            }
        } else if rest.ends_with("<unfinished ...>") {
            open.push((thread, calls.len()));
            calls.push(Call { began: place, returned: None, begin: rest, end: "" });
        } else if !rest.starts_with(['+', '-']) {
            calls.push(Call { began: place, returned: Some(place), begin: rest, end: rest });
        }
    }
    calls
}

/// Proves that a write of all of `row` to the store's log, and a sync of that log begun after it, returned before the first
/// call that is the effect.
///
/// # Errors
/// What is missing, or in the wrong order.
fn stored_before(
    calls: &[Call<'_>],
    row: &[&str],
    effect: impl Fn(&Call<'_>) -> bool,
) -> Result<(), String> {
    const LOG: &str = "dayfly.db-wal";
    let effect = calls.iter().find(|call| effect(call)).ok_or("there is no effect")?;
    let before = |call: &Call<'_>| call.returned.is_some_and(|returned| returned < effect.began);
    let written = calls
        .iter()
        .find(|call| call.is(&["pwrite64", "pwritev"], LOG) && call.says(row))
        .ok_or_else(|| format!("no write to the store's log holds {row:?}"))?;
    if !before(written) {
        return Err(format!("{row:?} was written after its effect: {}", effect.shown()));
    }
    let synced = calls.iter().any(|call| {
        call.is(&["fsync", "fdatasync"], LOG)
            && written.returned.is_some_and(|returned| returned < call.began)
            && call.end.ends_with("= 0")
            && before(call)
    });
    if synced { Ok(()) } else { Err(format!("{row:?} was not synced before {}", effect.shown())) }
}

#[test]
fn a_wrong_order_is_found() {
    let check = |lines: &[&str], says: Option<&str>| {
        let text = lines.join("\n");
        let said = stored_before(&calls(&text), &["row-1"], |call| call.is(&["mkdir"], "row-1"));
        match says {
            None => assert_eq!(said, Ok(()), "{text}"),
            Some(says) => {
                assert!(said.clone().is_err_and(|said| said.contains(says)), "{said:?}: {text}");
            }
        }
    };
    let write = r#"7 pwrite64(9</d/dayfly.db-wal>, "..row-1..", 4096, 56) = 4096"#;
    let other = r#"7 pwrite64(9</d/dayfly.db-wal>, "..row-2..", 4096, 56) = 4096"#;
    let sync = "7 fsync(9</d/dayfly.db-wal>) = 0";
    let effect = r#"8 mkdir("/d/row-1", 0700) = 0"#;
    let (begin, end) =
        ("7 fsync(9</d/dayfly.db-wal> <unfinished ...>", "7 <... fsync resumed>) = 0");
    check(&[write, sync, effect], None);
    check(&[write, begin, "8 connect(5) = 0", end, effect], None);
    check(&[write, effect, sync], Some("not synced"));
    check(&[write, begin, effect, end], Some("not synced"));
    check(&[begin, write, end, effect], Some("not synced"));
    check(&[sync, write, effect], Some("not synced"));
    check(&[write, "7 fsync(9</d/dayfly.db>) = 0", effect], Some("not synced"));
    check(
        &[write, "7 fsync(9</d/dayfly.db-wal>) = -1 EIO (Input/output error)", effect],
        Some("not synced"),
    );
    check(&[effect, write, sync], Some("after its effect"));
    check(&[other, sync, effect], Some("no write"));
    check(&[write, sync], Some("no effect"));
}

/// The message that a request deletes: the last word of a path of the queue.
fn deleted_message(call: &Call<'_>) -> Option<String> {
    let (_, rest) = call.begin.split_once("\"DELETE ")?;
    let path = rest.split([' ', '?']).next().filter(|path| path.contains("queue"))?;
    let word = path.rsplit('/').next()?;
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.to_owned())
}

#[tokio::test]
#[ignore = "needs strace"]
async fn the_sync_precedes_the_effect() {
    for making in [Making::Process, Making::Noop] {
        let mut site = Site::new(Setup { making: making.clone(), ..Setup::default() }).await;
        let trace = site.path("trace");
        let into = trace.clone();
        site.start_wrapped(move |command| traced(&command, &into));
        site.until_session();
        site.github.queue("acme/site", None, 1).await;
        site.github.until_jobs("success", 1).await;
        site.until(&["runners"], |runners| runners.as_array().unwrap().is_empty());
        site.end_clean().await;
        // The tracer outlives what it traces by a moment.
        let text = || String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
        wait_until("the end of the trace", || text().contains("+++ exited with 0 +++"));
        check(&making, &text());
    }
}

fn check(making: &Making, text: &str) {
    let calls = calls(text);
    let sends = ["write", "writev", "sendto", "sendmsg"];
    let prove = |row: &[&str], effect: &dyn Fn(&Call<'_>) -> bool| {
        if let Err(wrong) = stored_before(&calls, row, effect) {
            panic!("{making:?}: {wrong}");
        }
    };
    // The scale set, before it is asked for.
    prove(&[r#"\"state\":\"creating\""#, r#"\"group\":"#], &|call| {
        call.is(&sends, "") && call.says(&["POST ", "runnerscalesets"])
    });
    // The registration, which names the runner.
    let mint = calls
        .iter()
        .find(|call| call.is(&sends, "") && call.says(&["generatejitconfig"]))
        .expect("a registration was asked for");
    let runner = {
        let (_, rest) = mint.begin.split_once("e2e-").expect("its runner's name");
        format!("e2e-{}", &rest[..14])
    };
    prove(&[&runner, r#"\"state\":\"minting\""#], &|call| {
        call.is(&sends, "") && call.says(&["generatejitconfig", &runner])
    });
    // The instance.
    prove(&[&runner, r#"\"state\":\"creating\""#], &|call| match making {
        Making::Noop => call.is(&sends, "") && call.says(&[r#"\"create\""#, &runner]),
        _ => call.is(&["mkdir", "mkdirat"], "") && call.says(&[&runner]),
    });
    prove(&[&runner], &|call| !call.is(&["pwrite64", "pwritev"], "") && call.says(&[&runner]));
    // Messages, before they are deleted at GitHub.
    let asked = calls.iter().filter(|call| call.is(&sends, ""));
    let deletions: Vec<_> =
        asked.filter_map(|call| Some((call.began, deleted_message(call)?))).collect();
    assert!(!deletions.is_empty(), "{making:?}: no message was deleted");
    for (began, message) in deletions {
        let row = format!(r#"\"newest\":{message},"#);
        prove(&[&row], &|call| call.began == began);
    }
}
