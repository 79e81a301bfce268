//! Files that are not there, or not what they should be, and paths within them.

use std::{fs, path::Path};

use dayfly_config::{Auth, BackendConfig, FILE_BYTES_MAX, SecretRef, load, parse};

#[test]
fn what_can_not_be_read_is_told_without_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let check = |path: &Path, says: &str| {
        let errors = load(path).unwrap_err();
        assert_eq!(errors.count, 1);
        assert_eq!(errors.problems[0].place, None);
        let shown = errors.to_string();
        assert!(shown.contains(says) && shown.contains(path.to_str().unwrap()), "{shown}");
    };
    check(&directory.path().join("none.yaml"), "No such file");
    check(directory.path(), "Is a directory");
    let large = directory.path().join("large.yaml");
    fs::write(&large, vec![b'#'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1]).unwrap();
    check(&large, "larger than 1 MiB");
}

#[test]
fn a_problem_knows_its_place() {
    let errors =
        parse("store: {}\nü: [ä, {}]\ngithub:  # ü\n  - ä: b\n".as_bytes(), Path::new("x.yaml"))
            .unwrap_err();
    let places: Vec<_> = errors.problems.iter().map(|problem| problem.place.unwrap()).collect();
    assert!(places.contains(&(4, 5)) && places.contains(&(2, 1)), "{errors}");
    assert!(
        errors
            .problems
            .iter()
            .all(|problem| !problem.message.is_empty() && !problem.remedy.is_empty())
    );
}

#[test]
fn no_more_than_a_hundred_errors_are_shown() {
    let text: String = (0..250).map(|number| format!("key{number}: x\n")).collect();
    let errors = parse(text.as_bytes(), Path::new("x.yaml")).unwrap_err();
    assert_eq!((errors.problems.len(), errors.count), (100, 253));
    assert!(errors.to_string().ends_with("253 errors, 153 of them not shown"));
}

#[test]
fn relative_paths_start_from_the_files_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.yaml");
    fs::write(
        &path,
        "github: [{ url: https://github.com/acme, auth: { token: file:secrets/token } }]\n\
         backends: { here: { process: { directory: work } } }\n\
         pools: []\n\
         store: { sqlite: /var/lib/x.db }\n",
    )
    .unwrap();
    let config = load(&path).unwrap();
    let token = config.scopes.values().next().unwrap().auth.clone();
    assert_eq!(token, Some(Auth::Token(SecretRef::File(directory.path().join("secrets/token")))));
    let work = BackendConfig::Process { directory: Some(directory.path().join("work")) };
    assert_eq!(config.backends.values().next(), Some(&work));
    assert_eq!(config.store, Path::new("/var/lib/x.db"));
}
