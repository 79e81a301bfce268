//! A job on Docker beside the bare container: the same image, configuration and network, through the same engine API,
//! interleaved run by run.

use std::{collections::HashMap, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bollard::{
    Docker,
    container::LogOutput,
    models::{ContainerCreateBody, HostConfig, HostConfigLogConfig},
    query_parameters::{
        CreateContainerOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        StartContainerOptions,
    },
};
use futures_util::{StreamExt, future::try_join_all};

use super::{
    clock,
    figure::{Figure, spread},
    rig::{Bench, Pool, Rig},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long the machine rests between two measurements, so that neither pays for the other's cleaning up.
const REST: Duration = Duration::from_millis(500);

/// The environment of both containers: the stand-in for GitHub's runner runs as root.
const ENVIRONMENT: &str = "RUNNER_ALLOW_RUNASROOT=1";

/// `docker-cold` (one job) or `docker-cold-10` (ten at once; of each run the mean).
pub async fn cold(bench: &Bench, runs: usize, at_once: usize) -> Result<Vec<Figure>> {
    let name = if at_once == 1 { "docker-cold" } else { "docker-cold-10" };
    let (ours, bare) = compare(bench, runs, at_once, 0).await?;
    Ok(vec![Figure::ratio(name, &ours, &bare)?])
}

/// `docker-warm`: a job that finds a warm container.
pub async fn warm(bench: &Bench, runs: usize) -> Result<Vec<Figure>> {
    let (ours, bare) = compare(bench, runs, 1, 1).await?;
    Ok(vec![Figure::ratio("docker-warm", &ours, &bare)?])
}

/// Seconds of our runs and of the bare container's.
async fn compare(
    bench: &Bench,
    runs: usize,
    at_once: usize,
    warm: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let client =
        Docker::connect_with_defaults()?.negotiate_version().await.context("reach Docker")?;
    let image = image(bench)?;
    let address = gateway(&client).await?;
    let pool = Pool {
        backend: "docker: {}".to_owned(),
        image: image.clone(),
        more: format!("    environment: {{ RUNNER_ALLOW_RUNASROOT: \"1\" }}\n    warm: {warm}\n"),
        max: at_once + warm,
        webhook: false,
    };
    let rig = Rig::start(bench, &address, &pool).await?;
    let outcome = measure(&rig, &client, &image, (runs, at_once, warm)).await;
    rig.finish().await?;
    let (ours, bare) = outcome?;
    eprintln!(
        "a job: {:?} s; the bare container: {:?} s (least, median, most)",
        spread(&ours),
        spread(&bare)
    );
    Ok((ours, bare))
}

async fn measure(
    rig: &Rig,
    client: &Docker,
    image: &str,
    (runs, at_once, warm): (usize, usize, usize),
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first of each is not counted: it finds nothing in any cache.
    for number in 0..=runs {
        rig.until_phases(warm, "warm", PATIENCE).await?;
        tokio::time::sleep(REST).await;
        let one = rig.job(at_once, PATIENCE).await?;
        rig.until_phases(warm, "warm", PATIENCE).await?;
        tokio::time::sleep(REST).await;
        let other = try_join_all((0..at_once).map(|_| bare_container(client, image))).await?;
        let other = other.iter().sum::<f64>() / at_once as f64;
        if number > 0 {
            ours.push(one);
            bare.push(other);
        }
    }
    Ok((ours, bare))
}

/// Makes and starts a container that differs from a runner's in nothing but its script; until its first instruction, in
/// seconds: the engine notes the time of its first output.
async fn bare_container(client: &Docker, image: &str) -> Result<f64> {
    let words =
        |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(HashMap::from([("dev.dayfly.bench".to_owned(), "bare".to_owned())])),
        entrypoint: words(&["/bin/sh", "-c", "echo first", "dayfly"]),
        cmd: words(&["./run.sh"]),
        open_stdin: Some(true),
        attach_stdin: Some(true),
        stdin_once: Some(false),
        tty: Some(false),
        env: words(&[ENVIRONMENT]),
        host_config: Some(HostConfig {
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([("max-size".to_owned(), "4m".to_owned())])),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let begin = clock::now();
    let made = client.create_container(None::<CreateContainerOptions>, body).await?;
    client.start_container(&made.id, None::<StartContainerOptions>).await?;
    let first = first_output_at(client, &made.id).await;
    let remove = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    client.remove_container(&made.id, Some(remove)).await?;
    Ok(first? - begin)
}

/// When a container's first output came, by the engine's own note, in Unix seconds.
async fn first_output_at(client: &Docker, id: &str) -> Result<f64> {
    let options = LogsOptionsBuilder::new().stdout(true).timestamps(true).follow(true).build();
    let line: Option<LogOutput> = client.logs(id, Some(options)).next().await.transpose()?;
    let text = line.context("the bare container said nothing")?.to_string();
    let time: jiff::Timestamp =
        text.split(' ').next().unwrap_or_default().parse().context("the engine's time")?;
    Ok(time.as_duration().as_secs_f64())
}

/// The demo's image of this very build: the demo makes it.
fn image(bench: &Bench) -> Result<String> {
    let output = Command::new(&bench.program)
        .args([
            "demo",
            "--backend",
            "docker",
            "--jobs",
            "1",
            "--max",
            "1",
            "--seconds-per-job",
            "0",
            "--once",
        ])
        .output()
        .context("dayfly demo did not start")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "dayfly demo failed: {text}");
    let at = text.find("dayfly-demo:").context("dayfly demo does not name its image")?;
    let name = text[at..].split(|c: char| !(c.is_alphanumeric() || c == ':' || c == '-')).next();
    Ok(name.unwrap_or_default().to_owned())
}

/// The address of this machine that containers reach.
async fn gateway(client: &Docker) -> Result<String> {
    let network = client.inspect_network("bridge", None).await?;
    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    // An engine that made its bridge itself may not tell the gateway: it is the subnet's first address.
    let first = |subnet: String| {
        let network: std::net::Ipv4Addr = subnet.split('/').next()?.parse().ok()?;
        Some(std::net::Ipv4Addr::from_bits(network.to_bits().checked_add(1)?).to_string())
    };
    let gateway =
        configs.into_iter().find_map(|config| config.gateway.or_else(|| first(config.subnet?)));
    gateway.context("Docker's bridge has no gateway")
}
