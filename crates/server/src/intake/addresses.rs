//! Where deliveries may come from.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;
use tokio::sync::watch;

/// Where each proxy writes whom it speaks for, the newest last.
const FORWARDED: &str = "x-forwarded-for";

/// Which addresses deliveries may come from. Their signature is checked all the same.
#[derive(Debug, Clone)]
pub enum Allowed {
    /// All.
    Everyone,
    /// Those of these networks.
    Networks(Vec<IpNet>),
    /// Those that GitHub tells; `None` until it has.
    Told(watch::Receiver<Option<Vec<IpNet>>>),
}

/// Whether an address may deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    Refused,
    /// It is not known yet.
    Unknown,
}

impl Allowed {
    /// `sender` tells the address, and is asked only where it matters; `None` is somebody whom nobody knows.
    pub(crate) fn admit(&self, sender: impl FnOnce() -> Option<IpAddr>) -> Admission {
        if matches!(self, Self::Everyone) {
            return Admission::Granted;
        }
        let Some(address) = sender() else { return Admission::Refused };
        let among = |networks: &[IpNet]| {
            if contains(networks, address) { Admission::Granted } else { Admission::Refused }
        };
        match self {
            Self::Everyone => Admission::Granted,
            Self::Networks(networks) => among(networks),
            Self::Told(told) => told.borrow().as_deref().map_or(Admission::Unknown, among),
        }
    }
}

/// Who sent a request: the other end of the connection, or, where that is a trusted proxy, whom the proxies speak for. `None` where a
/// trusted proxy wrote what is no address.
pub(crate) fn sender(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> Option<IpAddr> {
    let mut sender = peer.to_canonical();
    let written = headers.get_all(FORWARDED).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut hops: Vec<&str> = written.flat_map(|value| value.split(',')).map(str::trim).collect();
    // Each hop vouches for the one before it, as long as it is trusted itself.
    while contains(trusted, sender)
        && let Some(hop) = hops.pop()
    {
        sender = address(hop)?.to_canonical();
    }
    Some(sender)
}

/// The address that a hop is written as: some proxies add its port.
fn address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    hop.parse().ok().or_else(with_port)
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_sender_is_told_by_trusted_proxies_alone() {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let check = |peer: &str, forwarded: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(FORWARDED, value.parse().unwrap());
            }
            let sender = sender(peer.parse().unwrap(), &trusted, &headers);
            assert_eq!(sender, expected.map(|text| text.parse().unwrap()), "{peer} {forwarded:?}");
        };
        check("192.0.2.1", &[], Some("192.0.2.1"));
        check("192.0.2.1", &["198.51.100.7"], Some("192.0.2.1"));
        check("10.0.0.1", &[], Some("10.0.0.1"));
        check("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7"));
        check("::ffff:10.0.0.1", &["198.51.100.7"], Some("198.51.100.7"));
        // What an untrusted sender wrote before the proxies counts for nothing.
        check("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], Some("198.51.100.7"));
        check("10.0.0.1", &["203.0.113.9", "198.51.100.7"], Some("198.51.100.7"));
        check("fd00::1", &["2001:db8::1"], Some("2001:db8::1"));
        check("10.0.0.1", &["unknown"], None);
        check("10.0.0.1", &["203.0.113.9, 198.51.100.7:4711"], Some("198.51.100.7"));
        check("10.0.0.1", &["198.51.100.7:4711, 10.0.0.2:80"], Some("198.51.100.7"));
        check("10.0.0.1", &["[2001:db8::1]:4711"], Some("2001:db8::1"));
        check("10.0.0.1", &["198.51.100.7:99999"], None);
        check("10.0.0.1", &[""], None);
    }

    #[test]
    fn admission() {
        let check = |allowed: &Allowed, address: &str, expected: Admission| {
            let sender = || address.parse().ok();
            assert_eq!(allowed.admit(sender), expected, "{address} {allowed:?}");
        };
        check(&Allowed::Everyone, "192.0.2.1", Admission::Granted);
        check(&Allowed::Everyone, "nobody knows", Admission::Granted);
        let some = Allowed::Networks(networks(&["192.0.2.0/24", "2001:db8::/32"]));
        check(&some, "192.0.2.1", Admission::Granted);
        check(&some, "::ffff:192.0.2.1", Admission::Granted);
        check(&some, "2001:db8::7", Admission::Granted);
        check(&some, "198.51.100.7", Admission::Refused);
        check(&some, "nobody knows", Admission::Refused);
        let (tell, told) = watch::channel(None);
        let told = Allowed::Told(told);
        check(&told, "192.0.2.1", Admission::Unknown);
        tell.send(Some(networks(&["192.0.2.0/24"]))).unwrap();
        check(&told, "192.0.2.1", Admission::Granted);
        check(&told, "198.51.100.7", Admission::Refused);
    }
}
