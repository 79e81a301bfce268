//! Secrets by reference: what is taken, what is refused, and that none is shown.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use dayfly_config::{Environment, SecretRef, default_token};
use secrecy::{ExposeSecret, SecretString};

const SECRET: &str = "hunter2-and-more";

/// An environment of a test's own.
#[derive(Default)]
struct Variables(BTreeMap<&'static str, OsString>);

impl Variables {
    fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.0.insert(name, value.into());
        self
    }
}

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }
}

fn file(directory: &Path, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn check(reference: &SecretRef, environment: &Variables, expected: Result<&str, &str>) {
    match (reference.resolve(environment), expected) {
        (Ok(secret), Ok(expected)) => assert_eq!(secret.expose_secret(), expected),
        (Err(error), Err(says)) => {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(says) && shown.contains(&reference.to_string()), "{shown}");
            assert!(!shown.contains(SECRET), "{shown}");
        }
        (Ok(_), Err(says)) => panic!("{reference} is taken, not refused with: {says}"),
        (Err(error), Ok(_)) => panic!("{error}"),
    }
}

#[test]
fn references_are_read() {
    let base = Path::new("/etc/dayfly");
    let check = |text: &str, expected: Option<SecretRef>| {
        assert_eq!(SecretRef::parse(text, base), expected, "{text}");
    };
    check("file:token", Some(SecretRef::File("/etc/dayfly/token".into())));
    check("file:/run/token", Some(SecretRef::File("/run/token".into())));
    check("env:GITHUB_TOKEN", Some(SecretRef::Env("GITHUB_TOKEN".into())));
    check("credential:github-token", Some(SecretRef::Credential("github-token".into())));
    for bad in [
        "",
        "file:",
        "env:",
        "env:A B",
        "env:1A",
        "env:A=B",
        "credential:",
        "credential:..",
        "credential:a/b",
        "FILE:x",
        " file:x",
        "vault:x",
        "ghp_0123456789abcdef",
    ] {
        check(bad, None);
    }
}

#[test]
fn files_are_read_where_their_owner_alone_can() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = Variables::default();
    let check = |name: &str, bytes: &[u8], mode: u32, expected: Result<&str, &str>| {
        check(&SecretRef::File(file(directory.path(), name, bytes, mode)), &nothing, expected);
    };
    check("plain", SECRET.as_bytes(), 0o600, Ok(SECRET));
    check("newline", format!("{SECRET}\r\n\n").as_bytes(), 0o400, Ok(SECRET));
    check("pem", b"-----BEGIN\nab\n-----END\n", 0o600, Ok("-----BEGIN\nab\n-----END"));
    check("edge", &[b'x'; 64 << 10], 0o600, Ok(&"x".repeat(64 << 10)));
    check("world", SECRET.as_bytes(), 0o644, Err("chmod 600"));
    check("group", SECRET.as_bytes(), 0o640, Err("mode 0640"));
    check("writable", SECRET.as_bytes(), 0o602, Err("chmod 600"));
    check("empty", b"", 0o600, Err("empty"));
    check("newlines", b"\n\n", 0o600, Err("empty"));
    check("binary", &[0xff, 0xfe], 0o600, Err("UTF-8"));
    check("large", &[b'x'; (64 << 10) + 1], 0o600, Err("64 KiB"));
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = Variables::default();
    check(&SecretRef::File(directory.path().join("none")), &nothing, Err("No such file"));
    check(&SecretRef::File(directory.path().to_owned()), &nothing, Err("not a regular file"));
    // A pipe without a writer would block who opens it.
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    check(&SecretRef::File(pipe), &nothing, Err("not a regular file"));
}

#[test]
fn variables_and_credentials_are_read() {
    let directory = tempfile::tempdir().unwrap();
    // systemd's own modes, whatever they are.
    file(directory.path(), "key", SECRET, 0o440);
    let environment = Variables::default()
        .with("TOKEN", format!("{SECRET}\n"))
        .with("EMPTY", "")
        .with("BINARY", OsString::from_vec(vec![0xff]))
        .with("CREDENTIALS_DIRECTORY", directory.path());
    let env = |name: &str| SecretRef::Env(name.to_owned());
    check(&env("TOKEN"), &environment, Ok(SECRET));
    check(&env("NONE"), &environment, Err("set NONE"));
    check(&env("EMPTY"), &environment, Err("empty"));
    check(&env("BINARY"), &environment, Err("UTF-8"));
    let credential = |name: &str| SecretRef::Credential(name.to_owned());
    check(&credential("key"), &environment, Ok(SECRET));
    check(&credential("none"), &environment, Err("No such file"));
    check(&credential("key"), &Variables::default(), Err("LoadCredential=key:PATH"));
}

#[test]
fn the_default_token_is_the_nearest() {
    let directory = tempfile::tempdir().unwrap();
    let check = |given: Option<&str>, environment: &Variables, expected: Option<&str>| {
        let token = default_token(given.map(SecretString::from), environment).unwrap();
        assert_eq!(token.as_ref().map(ExposeSecret::expose_secret), expected);
    };
    let credentials = || Variables::default().with("CREDENTIALS_DIRECTORY", directory.path());
    check(None, &Variables::default(), None);
    check(None, &credentials(), None);
    file(directory.path(), "github-token", "credential", 0o400);
    check(None, &credentials(), Some("credential"));
    check(None, &credentials().with("GITHUB_TOKEN", "variable"), Some("variable"));
    check(Some("given"), &credentials().with("GITHUB_TOKEN", "variable"), Some("given"));
    // One that is there and can't be used is not passed over.
    let error = default_token(None, &credentials().with("GITHUB_TOKEN", "")).unwrap_err();
    assert_eq!(error.reference, "env:GITHUB_TOKEN");
}
