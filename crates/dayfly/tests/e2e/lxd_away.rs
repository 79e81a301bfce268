//! A member of a real cluster, or one of two real servers, is gone for a while and comes back: no job waits for it but those
//! that it has.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    lxd::{Image, Network, ONE_SERVER, PRESEED, Server, each_its_own, until_done},
    lxd_members::{Cluster, HOST},
    lxd_private::Private,
    site::{First, Making, Setup, Site},
};

/// Longer than a cluster takes to see it; `DAYFLY_E2E_AWAY_S` sets another time.
fn away() -> Duration {
    let seconds = std::env::var("DAYFLY_E2E_AWAY_S").map_or(15, |number| number.parse().unwrap());
    Duration::from_secs(seconds)
}

/// How many runners work on a backend.
fn busy(runners: &Value, backend: &str) -> usize {
    let rows = runners.as_array().unwrap().iter();
    rows.filter(|runner| runner["backend"] == backend && runner["phase"] == "busy").count()
}

/// What happens to the first backend's server.
enum Fate {
    /// `kill -9`. Its instances run on.
    Gone,
    Back,
}

/// A pool with jobs on both of its backends, of which the first one goes and comes back.
async fn jobs_run_on(site: &mut Site, mut server: impl FnMut(Fate)) {
    site.start_and_wait();
    site.github.queue("acme/site", Some("sleep 5"), 4).await;
    site.until(&["runners"], |runners| busy(runners, "first") == 2 && busy(runners, "it") == 2);

    server(Fate::Gone);
    #[expect(clippy::disallowed_methods, reason = "a test has no port to ask")]
    let gone = Instant::now();
    // The two that work there go on, and end while nobody can be told.
    site.github.queue("acme/site", Some("sleep 1"), 4).await;
    until_done(site, 8).await;
    // They are not taken for gone, and no more are made there.
    let on_it = |runners: &Value| {
        runners.as_array().unwrap().iter().filter(|runner| runner["backend"] == "first").count()
    };
    assert!(on_it(&site.json(&["runners"])) >= 2);
    std::thread::sleep(away().saturating_sub(gone.elapsed()));
    assert!(on_it(&site.json(&["runners"])) >= 2);
    server(Fate::Back);

    // What ended meanwhile is removed, and it is made use of again.
    site.until(&["runners"], |runners| on_it(runners) == 0);
    site.github.queue("acme/site", Some("sleep 4"), 4).await;
    site.until(&["runners"], |runners| busy(runners, "first") > 0);
    until_done(site, 12).await;
    each_its_own(site).await;
    site.end_clean().await;
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_member_is_gone_for_a_while_and_back() {
    let mut cluster = Cluster::start(3);
    let directory = Some(cluster.directory());
    let server = Server { directory, host: Some(HOST), member: Some("node2"), ..Server::default() };
    let image = Image::pack(&server, true);
    let first = Some(First::Lxd(server.clone().on("node3")));
    let making = Making::Lxd { image: image.alias.clone(), server };
    let more = "    placement: spread\n".to_owned();
    let mut site = Site::new(Setup { making, first, more, max: 4, ..Setup::default() }).await;
    let fate = |fate| match fate {
        Fate::Gone => cluster.crash(3),
        Fate::Back => cluster.start_again(3),
    };
    jobs_run_on(&mut site, fate).await;
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn one_of_two_servers_is_gone_for_a_while_and_back() {
    let _alone = ONE_SERVER.lock().await;
    let mut network = Network::default();
    let other = PRESEED.replace("dayfly1", "dayfly2").replace("10.213.79.", "10.213.80.");
    let stays = Private::start(&[""; 0], PRESEED);
    let mut goes = Private::start(&[""; 0], &other);
    let of =
        |private: &Private| Server { directory: Some(private.directory()), ..Server::default() };
    let (server, gone) = (of(&stays), of(&goes));
    // By the same name on each.
    let images = [&server, &gone].map(|server| Image::pack(server, true));
    let making = Making::Lxd { image: images[0].alias.clone(), server: server.clone() };
    let more = "    placement: spread\n".to_owned();
    let first = Some(First::Lxd(gone.clone()));
    let mut site = Site::new(Setup { making, first, more, max: 4, ..Setup::default() }).await;
    let fate = |fate| match fate {
        Fate::Gone => {
            network.note(&gone);
            goes.crash();
        }
        Fate::Back => {
            goes.start_again();
            network.note(&gone);
        }
    };
    jobs_run_on(&mut site, fate).await;
    for server in [&server, &gone] {
        assert_eq!(server.names(), "", "nothing is left");
    }
}
