//! A job on LXD beside the same system container without dayfly: the same image, storage and network, through the same
//! API, interleaved run by run.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    clock,
    figure::{Figure, spread},
    lxd_image::{self, FIRST},
    rig::{Bench, Pool, Rig},
};
use crate::{lxd::Lxd, process::run};

const PATIENCE: Duration = Duration::from_secs(120);

/// How long the machine rests between two measurements: LXD cleans up after an instance for longer than Docker does.
const REST: Duration = Duration::from_secs(1);

/// How often it is looked whether a container's init began. It writes down itself when.
const LOOK: Duration = Duration::from_millis(20);

/// The storage that clones images: btrfs in a file.
const CLONING: &str = "cloning";

/// The storage that copies them.
const COPYING: &str = "default";

/// The name of the container without dayfly.
const BARE: &str = "bare";

/// `lxd-cold-busybox` and `lxd-cold-debian`.
pub async fn cold(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let server = Server::start(bench)?;
    let busybox = lxd_image::busybox(bench, &server.lxd)?;
    let (ours, bare) = server.compare(bench, runs, (busybox, COPYING), 0).await?;
    let first = Figure::ratio("lxd-cold-busybox", &ours, &bare)?;
    let debian = lxd_image::debian(bench, &server.lxd)?;
    let (ours, bare) = server.compare(bench, runs, (debian, CLONING), 0).await?;
    Ok(vec![first, Figure::ratio("lxd-cold-debian", &ours, &bare)?])
}

/// `lxd-warm`: a job that finds a warm container of Debian.
pub async fn warm(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let server = Server::start(bench)?;
    let debian = lxd_image::debian(bench, &server.lxd)?;
    let (ours, bare) = server.compare(bench, runs, (debian, CLONING), 1).await?;
    Ok(vec![Figure::ratio("lxd-warm", &ours, &bare)?])
}

/// An LXD of the benchmark's own.
struct Server {
    lxd: Lxd,
    http: reqwest::Client,
}

impl Server {
    fn start(bench: &Bench) -> Result<Self> {
        let lxd =
            Lxd::start(&bench.disk.join("lxd.log")).context("start an LXD (root is needed)")?;
        run(lxd.command("lxc").args([
            "storage",
            "create",
            "--quiet",
            CLONING,
            "btrfs",
            "size=8GiB",
        ]))
        .context("make a storage pool of btrfs (the package btrfs-progs is needed)")?;
        let http = reqwest::Client::builder()
            .unix_socket(lxd.directory().join("unix.socket"))
            // LXD 5.0 answers nobody while a connection says nothing.
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { lxd, http })
    }

    /// Seconds of our runs and of the bare container's.
    async fn compare(
        &self,
        bench: &Bench,
        runs: usize,
        (image, storage): (&str, &str),
        warm: usize,
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let pool = Pool {
            backend: format!(
                "lxd: {{ socket: {} }}",
                self.lxd.directory().join("unix.socket").display()
            ),
            image: image.to_owned(),
            more: format!("    storage: {storage}\n    warm: {warm}\n"),
            max: 1 + warm,
            webhook: false,
        };
        let rig = Rig::start(bench, crate::lxd::GATEWAY, &pool).await?;
        let outcome = self.measure(&rig, (image, storage), runs, warm).await;
        rig.finish().await?;
        let (ours, bare) = outcome?;
        eprintln!(
            "{image}: a job: {:?} s; the bare container: {:?} s (least, median, most)",
            spread(&ours),
            spread(&bare)
        );
        Ok((ours, bare))
    }

    async fn measure(
        &self,
        rig: &Rig,
        (image, storage): (&str, &str),
        runs: usize,
        warm: usize,
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        // The first of each is not counted: LXD unpacks the image for it.
        for number in 0..=runs {
            rig.until_phases(warm, "warm", PATIENCE).await?;
            tokio::time::sleep(REST).await;
            let one = rig.job(1, PATIENCE).await?;
            rig.until_phases(warm, "warm", PATIENCE).await?;
            tokio::time::sleep(REST).await;
            let other = self.bare_container(image, storage).await;
            self.remove().await?;
            let other = other?;
            if number > 0 {
                ours.push(one);
                bare.push(other);
            }
        }
        Ok((ours, bare))
    }

    /// Makes and starts a container that is like a runner's; until its first instruction, in seconds.
    async fn bare_container(&self, image: &str, storage: &str) -> Result<f64> {
        let body = json!({
            "name": BARE, "type": "container", "ephemeral": false,
            "config": { "boot.autostart": "false", "user.dayfly.bench": "bare" },
            "devices": { "root": { "type": "disk", "path": "/", "pool": storage } },
            "source": { "type": "image", "alias": image },
        });
        let begin = clock::now();
        self.change(Method::POST, "/1.0/instances", body).await?;
        let path = format!("/1.0/instances/{BARE}/state");
        self.change(Method::PUT, &path, json!({ "action": "start", "timeout": 60 })).await?;
        let first = self.first_at(storage).await?;
        ensure!(first > begin, "the file is not this instance's");
        Ok(first - begin)
    }

    /// When the instance's init began, in Unix seconds.
    async fn first_at(&self, storage: &str) -> Result<f64> {
        let pools: PathBuf = self.lxd.directory().join("storage-pools").join(storage);
        let file = pools.join("containers").join(BARE).join("rootfs").join(FIRST);
        // LXD says that it has started a container when it is about to.
        let there = async {
            while !file.exists() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, there).await.context("the init never began")?;
        let at = fs::metadata(&file)?.modified()?;
        Ok(at.duration_since(UNIX_EPOCH)?.as_secs_f64())
    }

    async fn remove(&self) -> Result<()> {
        let path = format!("/1.0/instances/{BARE}");
        let stop = json!({ "action": "stop", "timeout": -1, "force": true });
        self.change(Method::PUT, &format!("{path}/state"), stop).await?;
        self.change(Method::DELETE, &path, Value::Null).await
    }

    /// Has the server do something, and waits for it.
    async fn change(&self, method: Method, path: &str, body: Value) -> Result<()> {
        let what = format!("{method} {path}");
        let answer = self.http.request(method, format!("http://lxd{path}")).json(&body).send();
        let begun: Value = answer.await?.json().await.with_context(|| what.clone())?;
        let operation = begun["operation"].as_str().filter(|path| !path.is_empty());
        let operation = operation.with_context(|| format!("{what}: {begun}"))?;
        let wait = self.http.get(format!("http://lxd{operation}/wait?timeout=120")).send();
        let ended: Value = wait.await?.json().await?;
        ensure!(ended["metadata"]["status_code"] == 200, "{what}: {ended}");
        Ok(())
    }
}
