//! A member of a real cluster is gone for a while and comes back: no job waits for it but those that it has.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    lxd::{Image, Server, each_its_own, until_done},
    lxd_members::{Cluster, HOST},
    site::{First, Making, Setup, Site},
};

/// Longer than the cluster takes to see it; `DAYFLY_E2E_AWAY_S` sets another time.
fn away() -> Duration {
    let seconds = std::env::var("DAYFLY_E2E_AWAY_S").map_or(15, |number| number.parse().unwrap());
    Duration::from_secs(seconds)
}

/// How many runners work on a backend.
fn busy(runners: &Value, backend: &str) -> usize {
    let rows = runners.as_array().unwrap().iter();
    rows.filter(|runner| runner["backend"] == backend && runner["phase"] == "busy").count()
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_member_is_gone_for_a_while_and_back() {
    let mut cluster = Cluster::start(3);
    let directory = Some(cluster.directory());
    let server = Server { directory, host: Some(HOST), member: Some("node2"), ..Server::default() };
    let image = Image::pack(&server, true);
    let making = Making::Lxd { image: image.alias.clone(), server };
    let more = "    placement: spread\n".to_owned();
    let first = Some(First::Member("node3"));
    let mut site = Site::new(Setup { making, first, more, max: 4, ..Setup::default() }).await;
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 5"), 4).await;
    site.until(&["runners"], |runners| busy(runners, "first") == 2 && busy(runners, "it") == 2);

    cluster.crash(3);
    #[expect(clippy::disallowed_methods, reason = "a test has no port to ask")]
    let gone = Instant::now();
    // The two that work there go on, and end while nobody can be told.
    site.github.queue("acme/site", Some("sleep 1"), 4).await;
    until_done(&site, 8).await;
    // They are not taken for gone, and no more are made there.
    let on_it = |runners: &Value| {
        runners.as_array().unwrap().iter().filter(|runner| runner["backend"] == "first").count()
    };
    assert!(on_it(&site.json(&["runners"])) >= 2);
    std::thread::sleep(away().saturating_sub(gone.elapsed()));
    cluster.start_again(3);

    // What ended meanwhile is removed, and it is made use of again.
    site.until(&["runners"], |runners| on_it(runners) == 0);
    site.github.queue("acme/site", Some("sleep 4"), 4).await;
    site.until(&["runners"], |runners| busy(runners, "first") > 0);
    until_done(&site, 12).await;
    each_its_own(&site).await;
    site.end_clean().await;
}
