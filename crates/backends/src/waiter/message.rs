//! What is written to a waiter, and what it answers.

use dayfly_core::ports::{BackendError, BackendErrorKind, JitConfig};

use crate::failure::failure;

/// The script, for any POSIX shell. Its arguments are the runner's program and arguments.
pub(crate) const SCRIPT: &str = include_str!("wait.sh");

/// The line by which the waiter says that it took the registration.
pub(crate) const RECEIVED: &str = "dayfly: registration received";

/// The longest registration: sixteen times what GitHub sends today, half of what Linux lets one variable be.
const REGISTRATION_MAX: usize = 65_536;

/// The program that is started where the pool names none: that of GitHub's runner.
pub(crate) const DEFAULT_COMMAND: &str = "./run.sh";

/// Spells a registration as the waiter reads it.
///
/// # Errors
/// Where it is not one printable word, so that the shell would not read it as it is; nothing of it is shown.
pub(crate) fn message(operation: &str, jit: &JitConfig) -> Result<Vec<u8>, BackendError> {
    let registration = jit.expose();
    let good = (1..=REGISTRATION_MAX).contains(&registration.len())
        && registration.bytes().all(|byte| byte.is_ascii_graphic());
    if !good {
        let detail = format!(
            "the registration is not one word of printable ASCII up to {REGISTRATION_MAX} characters"
        );
        return Err(failure(BackendErrorKind::NotAllowed, operation, detail));
    }
    Ok(format!("{}\n{registration}\n", registration.len()).into_bytes())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Output, Stdio},
    };

    use super::*;

    /// Every shell that an image is likely to have; each must be on the machine that runs the tests.
    const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

    /// Tests that run in a script's background have SIGINT and SIGQUIT ignored, which a shell can't take back.
    const AS_USUAL: [&str; 2] = ["env", "--default-signal=INT,QUIT"];

    fn run(shell: &[&str], command: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(AS_USUAL[0])
            .args(&AS_USUAL[1..])
            .args(shell)
            .args(["-c", SCRIPT, "waiter"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{shell:?} is needed for this test: {error}"));
        // A waiter that refused early has closed its end.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    #[test]
    fn a_registration_reaches_the_runner_alone() {
        let tell = "printf '%s' \"$ACTIONS_RUNNER_INPUT_JITCONFIG\"; cat; exit 7";
        for shell in SHELLS {
            for blob in [
                "x".to_owned(),
                "eyJ+/=".repeat(900),
                "a\\b$(id)`id`'\"*".to_owned(),
                "y".repeat(65_536),
            ] {
                let input = message("hand over", &JitConfig::new(blob.clone())).unwrap();
                let output =
                    run(shell, &["/bin/sh", "-c", tell], &[input, b"5\nagain\n".to_vec()].concat());
                let said = String::from_utf8(output.stdout).unwrap();
                assert_eq!(said, format!("{RECEIVED}\n{blob}"), "{shell:?}");
                assert_eq!(output.status.code(), Some(7), "{shell:?}");
            }
        }
    }

    #[test]
    fn a_bad_message_is_refused() {
        let check = |input: &[u8], words: &str| {
            for shell in SHELLS {
                let output = run(shell, &["echo", "ran"], input);
                let said = String::from_utf8(output.stderr).unwrap();
                assert!(
                    said.contains(words),
                    "{shell:?} of {:?} said {said}",
                    String::from_utf8_lossy(input)
                );
                assert_eq!(output.status.code(), Some(78), "{shell:?}");
                assert!(output.stdout.is_empty(), "{shell:?}");
            }
        };
        check(b"", "ended before");
        check(b"5", "ended before");
        check(b"\n", "begin with its length");
        check(b"x\nabc\n", "begin with its length");
        check(b"-1\nabc\n", "begin with its length");
        check(b"03\nabc\n", "begin with its length");
        check(b"0x3\nabc\n", "begin with its length");
        check(b"99999999999999999999\nabc\n", "begin with its length");
        check(b"$(id)\nabc\n", "begin with its length");
        check(b"65537\nabc\n", "too long");
        check(b"3\nab", "cut short");
        check(b"3\nabc", "cut short");
        check(b"3\n\n", "does not have its length");
        check(b"3\nabcd\n", "does not have its length");
        check(b"4\nabc\n", "does not have its length");
    }

    #[test]
    fn a_waiting_waiter_obeys_signals_and_the_runner_has_them_all() {
        use std::{io::Read, thread};
        for shell in SHELLS {
            for (signal, code) in [("TERM", 143), ("INT", 130)] {
                let mut child = Command::new(AS_USUAL[0])
                    .args(&AS_USUAL[1..])
                    .arg("setsid")
                    .args(shell)
                    .args(["-c", &format!("echo up\n{SCRIPT}"), "waiter", "true"])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut up = [0; 3];
                child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
                // The trap is set right after "up"; a signal before it would end the shell with no code.
                let ended = loop {
                    thread::sleep(std::time::Duration::from_millis(20));
                    Command::new("kill")
                        .args([&format!("-{signal}"), &child.id().to_string()])
                        .status()
                        .unwrap();
                    thread::sleep(std::time::Duration::from_millis(20));
                    if let Some(status) = child.try_wait().unwrap() {
                        break status;
                    }
                };
                assert_eq!(ended.code(), Some(code), "{shell:?} {signal}");
            }
            let input = message("hand over", &JitConfig::new("x".to_owned())).unwrap();
            let output = run(shell, &["grep", "-E", "^Sig(Ign|Cgt)", "/proc/self/status"], &input);
            let said = String::from_utf8(output.stdout).unwrap();
            let ignored = said.lines().find(|line| line.starts_with("SigIgn")).unwrap();
            let mask = u64::from_str_radix(ignored.split_whitespace().nth(1).unwrap(), 16).unwrap();
            assert_eq!(mask & 0b110, 0, "SIGINT and SIGQUIT are not ignored: {shell:?} {said}");
        }
    }

    #[test]
    fn an_odd_registration_is_refused_unseen() {
        for odd in ["", "two words", "two\nlines", "nul\0", "ümlaut", &"x".repeat(65_537)] {
            let error = message("hand over to a", &JitConfig::new(odd.to_owned())).unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::NotAllowed);
            assert!(odd.is_empty() || !error.to_string().contains(odd));
        }
    }
}
