//! Incus, the real one: the contract by every way to it, and where its words and places are not LXD's.

use std::net::TcpListener;

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer, Product};
use dayfly_core::{
    model::{ControllerId, InstanceSpec},
    ports::{Backend, BackendErrorKind as Kind},
};

use super::{
    lxd_private::Private,
    remote::{Project, Trusted, trusts_by_token},
    server::{Lxc, contract, image, refused, shell},
};
use crate::suite::{self, controller, create, jit, runner};

/// A server of this test's own.
struct Server {
    lxc: Lxc,
    private: Private,
}

impl Server {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let preseed = format!(
            "config: {{ core.https_address: \"{free}\" }}\n\
             storage_pools: [{{ name: default, driver: dir }}]\n\
             profiles: [{{ name: default, devices: {{ root: {{ type: disk, path: /, pool: default }} }} }}]\n"
        );
        let product = Product::Incus;
        let private = Private::start_of(product, &[""; 0], &preseed);
        let lxc = Lxc { product, directory: Some(private.directory()) };
        image(&lxc);
        Self { lxc, private }
    }

    fn by_socket(&self, controller: ControllerId) -> Lxd {
        let server = LxdServer::Socket(self.private.directory().join("unix.socket"));
        let options = LxdOptions { product: Product::Incus, server, ..LxdOptions::default() };
        Lxd::connect(&options, controller).unwrap()
    }

    fn assert_empty(&self) {
        let list = ["list", "--all-projects", "--format", "csv", "--columns", "n"];
        assert_eq!(self.lxc.ask(&list), "", "nothing is left");
    }
}

#[tokio::test]
#[ignore = "needs incus"]
async fn incus_keeps_the_contract_by_its_socket_and_by_https() {
    let incus = Server::start();
    suite::check(|controller| incus.by_socket(controller), &contract()).await;
    let anyone = incus.by_socket(controller());
    let counts = async || anyone.controllers().await.unwrap();
    let connect = |controller| incus.by_socket(controller);
    suite::controllers_are_counted(connect, &contract(), counts).await;

    let project = Project::new(&incus.lxc);
    let name = project.name.as_str();
    let trusted = Trusted::new(&incus.lxc, &["--restricted", "--projects", name]);
    suite::check(|controller| trusted.connect(Some(name), controller), &contract()).await;
    let outside = trusted.connect(None, controller()).list().await.unwrap_err();
    assert_eq!(outside.kind, Kind::NotAllowed, "{outside}");
    trusts_by_token(&incus.lxc).await;
    incus.assert_empty();
}

/// Where its words and its places are others than LXD's.
#[tokio::test]
#[ignore = "needs incus"]
async fn what_incus_says_in_words_of_its_own_is_understood() {
    let incus = Server::start();
    let lxd = incus.by_socket(controller());
    let refused = async |spec, kind, words| refused(&lxd, spec, kind, words).await;
    let image = |image: &str| InstanceSpec { image: image.to_owned(), ..contract() };
    refused(image("dayfly-none"), Kind::ImageMissing, "image").await;
    refused(image("0123456789abcdef"), Kind::ImageMissing, "image").await;
    for server in ["https", "lxd+https", "incus+https"] {
        let image = image(&format!("{server}://127.0.0.1:1#none"));
        refused(image, Kind::ImageMissing, "127.0.0.1:1").await;
    }

    // The output of a command lies in a place of its own.
    let waiting = runner(lxd.controller());
    let created = create(&lxd, &waiting, &shell("echo here; exec sleep 600")).await;
    lxd.hand_over(&waiting, &created.id, jit("any")).await.unwrap();
    while lxd.console(&waiting).await.unwrap().last().map(String::as_str) != Some("here") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    lxd.destroy(&waiting, false).await.unwrap();
    incus.assert_empty();
}
