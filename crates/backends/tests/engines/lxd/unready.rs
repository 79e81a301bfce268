//! An instance that does not get ready in time: the refusal holds what it was about.

use dayfly_core::{
    model::{InstanceSpec, LxdSpec},
    ports::{Backend, BackendErrorKind, CreateRequest},
};

use super::fake::{Fake, File, Instance};
use crate::suite::{pool, runner};

/// What the script says that waited too long.
const LATE: i64 = 75;

#[tokio::test]
async fn what_hangs_is_told_with_what_it_said() {
    const NETWORK: &str = "dayfly: the instance has no way out of its network yet\n";
    let check = async |files: &[(&'static str, &'static str)], words: &[&str]| {
        let fake = Fake::start();
        let lxd = fake.connect();
        let files = files.iter().map(|(name, text)| (*name, File::Text(text)));
        let new = Instance { exit_code: LATE, files: files.collect(), ..Instance::default() };
        fake.state().new = new;
        let (runner, pool) = (runner(lxd.controller()), pool());
        let setup = Some("apt-get update".to_owned());
        let spec = InstanceSpec {
            image: "any".to_owned(),
            lxd: Some(LxdSpec { setup, ..LxdSpec::default() }),
            ..InstanceSpec::default()
        };
        let request = CreateRequest { runner: &runner, pool: &pool, spec: &spec };
        let error = lxd.create(request).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::NotAllowed, "{error}");
        for words in words.iter().chain(&["did not get that far in time (exit code 75): "]) {
            assert!(error.detail.contains(words), "{words}: {error}");
        }
        assert!(!error.detail.contains('\u{1b}'), "{error:?}");
        assert!(fake.state().instances.is_empty(), "nothing is left of it");
    };
    let setup = ("setup", "Reading package lists\n\u{1b}[31mwaiting for the lock\n");
    check(&[setup], &["Reading package lists; [31mwaiting for the lock"]).await;
    check(&[("console", NETWORK), setup], &["has no way out", "waiting for the lock"]).await;
    let provision = ("provision", "dayfly: the image lacks libicuuc: apt-get installs libicu72\n");
    check(&[setup, provision], &["apt-get installs libicu72"]).await;
    // Much of it: the last of it is what is told.
    let much = format!("{}the last line", format!("{}\n", "x".repeat(400)).repeat(30)).leak();
    check(&[("setup", much)], &["xxx; the last line"]).await;
}
