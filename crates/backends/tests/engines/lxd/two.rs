//! Two servers at once, each in a network of its own: what is asked of one does not concern the other.

use std::process::{Command, id};

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::{model::ControllerId, ports::Backend};

use super::{
    private::Private,
    remote::{Project, Trusted},
    server::{Lxc, contract, image},
};
use crate::suite::{self, controller, create, record, runner};

/// A network of a server's own, which this machine reaches by one address.
struct Network {
    name: String,
    /// This machine's end of the link.
    here: String,
    server: String,
}

impl Network {
    fn new(number: u8) -> Self {
        let name = format!("dflxd{number}-{}", id());
        let (here, there) = (format!("dfl{number}h{}", id() % 100_000), format!("dfl{number}s"));
        let server = format!("10.213.{}.2", 90 + number);
        ip(&["netns", "add", &name]);
        // From here on it goes, whatever fails.
        let network = Self { name, here, server };
        let (name, here) = (network.name.as_str(), network.here.as_str());
        ip(&["link", "add", here, "type", "veth", "peer", "name", &there, "netns", name]);
        ip(&["addr", "add", &format!("10.213.{}.1/24", 90 + number), "dev", here]);
        ip(&["link", "set", here, "up"]);
        ip(&["-n", name, "addr", "add", &format!("{}/24", network.server), "dev", &there]);
        ip(&["-n", name, "link", "set", &there, "up"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // With its namespace it would go too, but only some time after.
        let _ = Command::new("ip").args(["link", "del", &self.here]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

struct Server {
    lxc: Lxc,
    // Ends before its network goes.
    private: Private,
    _network: Network,
}

impl Server {
    fn start(number: u8) -> Self {
        let network = Network::new(number);
        let preseed = format!(
            "config: {{ core.https_address: \"{}:8443\" }}\n\
             storage_pools: [{{ name: default, driver: dir }}]\n\
             profiles: [{{ name: default, devices: {{ root: {{ type: disk, path: /, pool: default }} }} }}]\n",
            network.server
        );
        let entered = format!("--net=/run/netns/{}", network.name);
        let private = Private::start(&["nsenter", &entered], &preseed);
        let lxc = Lxc { directory: Some(private.directory()), ..Lxc::default() };
        image(&lxc);
        Self { lxc, private, _network: network }
    }

    fn by_socket(&self, controller: ControllerId) -> Lxd {
        let server = LxdServer::Socket(self.private.directory().join("unix.socket"));
        Lxd::connect(&LxdOptions { server, ..LxdOptions::default() }, controller).unwrap()
    }

    /// The contract, by every way to the server.
    async fn keeps_the_contract(&self) {
        suite::check(|controller| self.by_socket(controller), &contract()).await;
        let trusted = Trusted::new(&self.lxc, &[]);
        suite::check(|controller| trusted.connect(None, controller), &contract()).await;
        let project = Project::new(&self.lxc);
        let name = project.name.as_str();
        let trusted = Trusted::new(&self.lxc, &["--restricted", "--projects", name]);
        suite::check(|controller| trusted.connect(Some(name), controller), &contract()).await;
        let left = self.lxc.ask(&["list", "--all-projects", "--format", "csv", "--columns", "n"]);
        assert_eq!(left, "", "nothing is left");
    }
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn two_servers_keep_the_contract_at_once() {
    let servers = [1, 2].map(Server::start);
    let [one, two] = &servers;
    futures_util::future::join(one.keeps_the_contract(), two.keeps_the_contract()).await;

    // The same controller on both: each server tells of its own instances.
    let controller = controller();
    let (one, two) = (one.by_socket(controller), two.by_socket(controller));
    let runner = runner(controller);
    create(&one, &runner, &contract()).await;
    assert_eq!(record(&two, &runner).await, None);
    two.destroy(&runner, true).await.unwrap();
    assert!(record(&one, &runner).await.is_some());
    one.destroy(&runner, false).await.unwrap();
}
