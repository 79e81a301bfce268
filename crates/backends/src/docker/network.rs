//! The way from a container to the host: what an engine tells of its networks.

use std::net::{IpAddr, Ipv4Addr};

use bollard::Docker as Client;
use dayfly_core::ports::BackendError;

use super::error::unread;

/// The gateways of a network by name, in the engine's order.
pub(super) async fn gateways(client: &Client, name: &str) -> Result<Vec<IpAddr>, BackendError> {
    let network = client
        .inspect_network(name, None)
        .await
        .map_err(|error| unread(format!("look at network {name}"), &error))?;
    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    Ok(configs
        .into_iter()
        .filter_map(|config| gateway(config.gateway.as_deref(), config.subnet.as_deref()))
        .collect())
}

/// The gateway; an engine that made its bridge itself may not tell it, and has given it the subnet's first address.
fn gateway(told: Option<&str>, subnet: Option<&str>) -> Option<IpAddr> {
    if let Some(gateway) = told.and_then(|gateway| gateway.parse().ok()) {
        return Some(gateway);
    }
    let network: Ipv4Addr = subnet?.split('/').next()?.parse().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from_bits(network.to_bits().checked_add(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_told_or_follows_from_the_subnet() {
        let check = |told: Option<&str>, subnet: Option<&str>, expected: Option<&str>| {
            assert_eq!(
                gateway(told, subnet),
                expected.map(|address| address.parse().unwrap()),
                "{told:?} {subnet:?}"
            );
        };
        check(Some("10.1.2.3"), Some("10.1.0.0/16"), Some("10.1.2.3"));
        check(None, Some("172.17.0.0/16"), Some("172.17.0.1"));
        check(Some(""), Some("172.17.0.0/16"), Some("172.17.0.1"));
        check(None, Some("fd00::/64"), None);
        check(None, None, None);
    }
}
