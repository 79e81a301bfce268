//! A cluster of servers of a test's own, each in a network of its own behind a hub, as if each were another machine.

use std::{
    path::PathBuf,
    process::{Command, id},
};

use super::lxd_private::{Private, Programs, tried, within};

/// This machine's address at the hub, by which instances reach it.
pub const HOST: &str = "10.213.99.254";

/// The members, `node1` and so on; all of it goes with this.
pub struct Cluster {
    members: Vec<Private>,
    // Goes last.
    _networks: Networks,
}

impl Cluster {
    /// Starts so many, and joins them.
    pub fn start(members: usize) -> Self {
        let networks = Networks::new(members);
        let mut cluster = Self { members: Vec::new(), _networks: networks };
        for number in 1..=members {
            let address = format!("10.213.99.{number}:8443");
            let preseed = match number {
                1 => format!(
                    "config: {{ core.https_address: \"{address}\" }}\n\
                     cluster: {{ server_name: node1, enabled: true }}\n\
                     storage_pools: [{{ name: default, driver: dir }}]\n\
                     profiles: [{{ name: default, devices: {{ root: {{ type: disk, path: /, pool: default }} }} }}]\n"
                ),
                _ => format!(
                    "cluster: {{ enabled: true, server_address: \"{address}\", cluster_token: \"{}\" }}\n",
                    cluster.lxc(&["cluster", "add", &format!("node{number}"), "--quiet"]).trim()
                ),
            };
            cluster.members.push(Private::start(&within(&network(number)), &preseed));
        }
        // The least: a member that is away is known as such after 11 s.
        cluster.lxc(&["config", "set", "cluster.offline_threshold", "11"]);
        cluster.add_network();
        cluster
    }

    /// Where the first member's socket is.
    pub fn directory(&self) -> PathBuf {
        self.members[0].directory()
    }

    /// Gives the instances of the default profile a network, on each member the same, by which they reach this machine.
    fn add_network(&self) {
        let create = ["network", "create", "dflc"];
        for number in 1..=self.members.len() {
            self.lxc(&[&create[..], &["--target", &format!("node{number}")]].concat());
        }
        let settings = ["ipv4.address=10.213.93.1/24", "ipv4.nat=true", "ipv6.address=none"];
        self.lxc(&[&create[..], &settings].concat());
        let device = ["profile", "device", "add", "default", "eth0", "nic", "network=dflc"];
        self.lxc(&device);
    }

    /// `kill -9` of a member's server. Its instances run on.
    pub fn crash(&mut self, number: usize) {
        self.members[number - 1].crash();
    }

    /// Has it back.
    pub fn start_again(&mut self, number: usize) {
        self.members[number - 1].start_again();
    }

    fn lxc(&self, words: &[&str]) -> String {
        let programs = Programs::of(tried());
        let mut command = Command::new(programs.client);
        let output =
            command.env(programs.directory, self.directory()).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The first one, which all others know, last.
        while self.members.pop().is_some() {}
    }
}

fn network(number: usize) -> String {
    format!("dflxc{number}-{}", id())
}

/// The members' networks, and the hub's.
struct Networks(Vec<String>);

impl Networks {
    fn new(members: usize) -> Self {
        let hub = network(0);
        ip(&["netns", "add", &hub]);
        // From here on it goes, whatever fails.
        let mut networks = Self(vec![hub.clone()]);
        // A bridge of this machine's would be filtered by what other programs ask of it.
        ip(&["-n", &hub, "link", "add", "hub0", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "hub0", "up"]);
        let host = format!("dflc{}", id() % 100_000);
        ip(&["link", "add", "name", "host", "netns", &hub, "type", "veth", "peer", "name", &host]);
        ip(&["addr", "add", &format!("{HOST}/24"), "dev", &host]);
        ip(&["link", "set", &host, "up"]);
        for number in 1..=members {
            let name = network(number);
            ip(&["netns", "add", &name]);
            networks.0.push(name.clone());
            let port = format!("port{number}");
            let pair = ["type", "veth", "peer", "name", "eth0", "netns", &name];
            ip(&[&["link", "add", "name", &port, "netns", &hub], &pair[..]].concat());
            let address = format!("10.213.99.{number}/24");
            ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &hub, "link", "set", &port, "master", "hub0", "up"]);
        }
        ip(&["-n", &hub, "link", "set", "host", "master", "hub0", "up"]);
        networks
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
