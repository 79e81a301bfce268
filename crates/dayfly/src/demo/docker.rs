//! Docker for the demo: whether it is there, the image, and the address at which containers reach the simulator.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};
use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::{
    model::{ControllerId, InstanceSpec},
    ports::Backend,
};

use super::image;

/// Docker's own network, in which its containers are unless somebody says otherwise.
const NETWORK: &str = "bridge";

/// What the demo needs to run on Docker.
#[derive(Debug)]
pub struct Prepared {
    /// The image, known to the engine.
    pub image: String,
    /// Where the simulator listens.
    pub listen: IpAddr,
    /// The host by which containers reach the simulator, where it is not the address it listens on.
    pub host: Option<&'static str>,
}

/// Imports the image where it is not there, tries it, and finds the way to the simulator.
///
/// # Errors
/// Where the engine does not answer, or can't run what is built for this machine.
pub async fn prepare(controller: ControllerId) -> Result<Prepared> {
    if !cfg!(target_os = "linux") {
        bail!(
            "containers run Linux programs, and this program is built for {}",
            std::env::consts::OS
        );
    }
    let docker = Docker::connect(&DockerOptions::default(), controller)?;
    docker.version().await?;
    let image = image::pack().context("pack the demo's image")?;
    if !docker.has_image(&image.name).await? {
        docker.import_image(&image.name, image.archive.into(), image::RUNNER_HOME).await?;
    }
    let spec = InstanceSpec { image: image.name.clone(), ..InstanceSpec::default() };
    let findings = docker.check(&spec).await;
    if let Some((what, why)) =
        findings.into_iter().find_map(|finding| Some((finding.what, finding.result.err()?)))
    {
        bail!("{what}: {why}");
    }
    let (listen, host) = way_to_the_simulator(&docker).await?;
    Ok(Prepared { image: image.name, listen, host })
}

/// On Linux the bridge's gateway is an address of this machine: the simulator listens there, and on no other network.
/// Docker Desktop's bridge is within its virtual machine, which forwards `host.docker.internal` to this one.
async fn way_to_the_simulator(docker: &Docker) -> Result<(IpAddr, Option<&'static str>)> {
    let gateways = docker.gateways(NETWORK).await?;
    let ours = gateways.into_iter().find(|gateway| TcpListener::bind((*gateway, 0)).is_ok());
    Ok(match ours {
        Some(gateway) => (gateway, None),
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), Some("host.docker.internal")),
    })
}
