//! What instances behind a fence reach: not the host, not each other, not what is denied; all else they do. The host is a
//! network namespace, in which no other program's rules are.

use std::process::{Child, Command, id};

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::{
    model::{Fence, InstanceSpec, LxdSpec, RunnerName},
    ports::Backend,
};
use serde_json::Value;

use super::{
    private::{Private, within},
    server::{Lxc, image, shell},
};
use crate::suite::{controller, create, runner};

const HOST: &str = "10.213.97.1";
const DENIED: &str = "10.213.97.2";
const OPEN: &str = "10.213.97.130";
const PORT: &str = "8099";

const PRESEED: &str = "storage_pools: [{ name: default, driver: dir }]\n\
    networks: [{ name: beside0, type: bridge, config: { ipv4.address: 10.213.98.1/24, ipv4.nat: \"true\", ipv6.address: none } }]\n\
    profiles: [{ name: default, devices: { root: { type: disk, path: /, pool: default }, \
    eth1: { type: nic, name: eth1, network: beside0 } } }]\n";

/// Gives the instance the address that its network has for it.
const LEASE: &str = "printf '#!/bin/sh\\n[ \"$1\" = bound ] || exit 0\\nbusybox ip addr add $ip/$mask dev $interface\\n\
    busybox ip route add default via $router\\n' >/lease && chmod 755 /lease && busybox ip link set eth0 up && \
    busybox udhcpc -i eth0 -q -n -T 1 -t 20 -s /lease";

/// The host, and what is outside of it, with somebody who listens on each.
struct Place {
    host: String,
    outside: String,
    listeners: Vec<Child>,
}

impl Place {
    fn new() -> Self {
        let (host, outside) = (format!("dffence-{}", id()), format!("dfout-{}", id()));
        // From here on it goes, whatever fails.
        let mut place = Self { host, outside, listeners: Vec::new() };
        let (host, outside) = (place.host.clone(), place.outside.clone());
        for name in [&host, &outside] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        // Else the access list would keep neighbours apart too, and their interfaces' isolation could not be seen.
        let apart = "echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables";
        ip(&["netns", "exec", &host, "sh", "-c", apart]);
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &outside];
        ip(&[&["link", "add", "name", "up0", "netns", &host], &pair[..]].concat());
        for (name, device, addresses) in
            [(&host, "up0", &[HOST][..]), (&outside, "eth0", &[DENIED, OPEN])]
        {
            for address in addresses {
                ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", device]);
            }
            ip(&["-n", name, "link", "set", device, "up"]);
        }
        let listen = "while true; do busybox nc -l -p \"$1\" -e /bin/true; done";
        for name in [&host, &outside] {
            let words = ["ip", "netns", "exec", name, "sh", "-c", listen, "listen", PORT];
            let mut command = Command::new("setsid");
            place.listeners.push(command.args(words).spawn().unwrap());
        }
        place
    }
}

impl Place {
    /// The host's IPv6 addresses on a network's own link.
    fn link_addresses(&self, network: &str) -> String {
        let words = ["-n", &self.host, "-6", "-o", "addr", "show", "dev", network];
        let output = Command::new("ip").args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            // With what it started: it leads a session.
            let group = format!("-{}", listener.id());
            let _ = Command::new("kill").args(["-9", "--", &group]).status();
            let _ = listener.wait();
        }
        for name in [&self.host, &self.outside] {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn fenced(deny: &[&str], allow: &[&str]) -> InstanceSpec {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let fence = Some(Fence { deny: owned(deny), allow: owned(allow) });
    let lxd = Some(LxdSpec { fence, ..LxdSpec::default() });
    InstanceSpec { network: None, lxd, ..shell("exec sleep 100") }
}

struct Server {
    lxc: Lxc,
    lxd: Lxd,
}

impl Server {
    /// An instance behind a fence, with an address.
    async fn instance(&self, spec: &InstanceSpec) -> RunnerName {
        let runner = runner(self.lxd.controller());
        create(&self.lxd, &runner, spec).await;
        self.lxc.ask(&["exec", runner.as_str(), "--", "sh", "-c", LEASE]);
        runner
    }

    fn asked(&self, path: &str) -> Value {
        serde_json::from_str(&self.lxc.ask(&["query", path])).unwrap()
    }

    /// The instance's own network and its address in it.
    fn place(&self, runner: &RunnerName) -> (String, String) {
        let instance = self.asked(&format!("/1.0/instances/{runner}"));
        let network = instance["devices"]["eth0"]["network"].as_str().unwrap().to_owned();
        let state = self.asked(&format!("/1.0/instances/{runner}/state"));
        assert!(state["network"]["eth1"].is_null(), "what a profile has is no way past the fence");
        let told = state["network"]["eth0"]["addresses"].as_array().unwrap();
        let own = told.iter().find(|known| known["family"] == "inet");
        (network, own.unwrap()["address"].as_str().unwrap().to_owned())
    }

    fn reaches(&self, runner: &RunnerName, address: &str) -> bool {
        let script = format!("busybox nc -w 3 {address} {PORT} </dev/null");
        let words = ["exec", runner.as_str(), "--", "sh", "-c", &script];
        self.lxc.run(&words).status.success()
    }
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_fence_keeps_instances_from_the_host_from_each_other_and_from_what_is_denied() {
    let place = Place::new();
    let private = Private::start(&within(&place.host), PRESEED);
    let lxc = Lxc { directory: Some(private.directory()), ..Lxc::default() };
    image(&lxc);
    let socket = LxdServer::Socket(private.directory().join("unix.socket"));
    let options = LxdOptions { server: socket, ..LxdOptions::default() };
    let lxd = Lxd::connect(&options, controller()).unwrap();
    let server = Server { lxc, lxd };

    let spec = fenced(&["10.213.97.0/25"], &[]);
    // At once, and neither finds the fence there.
    let (one, other) = tokio::join!(server.instance(&spec), server.instance(&spec));
    let (network, _) = server.place(&one);
    let (_, neighbour) = server.place(&other);
    let gateway = server.lxc.ask(&["network", "get", &network, "ipv4.address"]);
    let gateway = gateway.split('/').next().unwrap().trim().to_owned();
    let listen = format!("while true; do busybox nc -l -p {PORT} -e /bin/sh -c true; done");
    let listen = format!("setsid sh -c '{listen}' >/dev/null 2>&1 </dev/null &");
    server.lxc.ask(&["exec", other.as_str(), "--", "sh", "-c", &listen]);
    let beside = "10.213.98.1";
    let seen = [OPEN, DENIED, HOST, &gateway, beside, &neighbour];
    let seen = seen.map(|address| server.reaches(&one, address));
    assert_eq!(seen, [true, false, false, false, false, false]);
    assert_eq!(place.link_addresses(&network), "", "by IPv6 the host has no end there");
    // Without the interfaces' isolation the neighbour is reached: it listens, and nothing else keeps it apart.
    for runner in [&one, &other] {
        let key = ["config", "device", "set", runner.as_str(), "eth0"];
        server.lxc.ask(&[&key[..], &["security.port_isolation=false"]].concat());
        // It is another interface.
        server.lxc.ask(&["exec", runner.as_str(), "--", "sh", "-c", LEASE]);
    }
    assert!(server.reaches(&one, &neighbour));
    // In another's name it reaches nothing.
    let forge = "busybox ip addr flush dev eth0 && busybox ip addr add \"$1\" dev eth0 && busybox ip route add default via \"$2\"";
    let stolen = format!("{}.99/24", gateway.strip_suffix(".1").unwrap());
    let words = ["exec", one.as_str(), "--", "sh", "-c", forge, "forge", &stolen, &gateway];
    let forged = server.lxc.run(&words);
    assert!(forged.status.success(), "{forged:?}");
    assert!(!server.reaches(&one, OPEN));

    // What is allowed out of what is denied, and nothing but what is allowed.
    for (deny, allow, expected) in [
        (&["10.213.97.0/24"][..], &["10.213.97.130/32"][..], [true, false, false]),
        (&[], &["10.213.97.2/32"], [false, true, false]),
    ] {
        let runner = server.instance(&fenced(deny, allow)).await;
        let seen = [OPEN, DENIED, HOST].map(|address| server.reaches(&runner, address));
        assert_eq!(seen, expected, "{deny:?} {allow:?}");
        server.lxd.destroy(&runner, false).await.unwrap();
    }
    for runner in [&one, &other] {
        server.lxd.destroy(runner, false).await.unwrap();
    }
    // A check tries all of it and leaves nothing, neither of its own fence.
    let networks = || {
        server.lxc.ask(&["query", "/1.0/networks"])
            + &server.lxc.ask(&["query", "/1.0/network-acls"])
    };
    let before = networks();
    let checked =
        InstanceSpec { command: shell("exit 0").command, ..fenced(&["10.213.97.0/25"], &[]) };
    let findings = Lxd::connect(&options, controller()).unwrap().check(&checked).await;
    assert!(findings.iter().all(|finding| finding.result.is_ok()), "{findings:?}");
    assert_eq!(networks(), before);
}
