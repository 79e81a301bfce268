//! What an instance may reach, as a server's rules say it: pure.

use std::net::{IpAddr, Ipv4Addr};

use dayfly_core::model::Fence;
use serde::{Deserialize, Serialize};

/// One rule of an access list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) action: String,
    #[serde(default)]
    pub(super) destination: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) state: String,
}

impl Rule {
    fn new(action: &str, destinations: &[String], description: &str) -> Option<Self> {
        (!destinations.is_empty()).then(|| Self {
            action: action.to_owned(),
            destination: destinations.join(","),
            description: description.to_owned(),
            state: "enabled".to_owned(),
        })
    }
}

/// A range of addresses: its first one, and how many bits all of them share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range(u32, u32);

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (first, bits) = text.split_once('/')?;
        let (first, bits) = (u32::from(first.parse::<Ipv4Addr>().ok()?), bits.parse().ok()?);
        (bits <= 32).then(|| Self(first & mask(bits), bits))
    }

    fn holds(self, other: Self) -> bool {
        self.1 <= other.1 && other.0 & mask(self.1) == self.0
    }

    /// What is left of it without another one.
    fn without(self, other: Self) -> Vec<Self> {
        if other.holds(self) {
            return Vec::new();
        }
        if !self.holds(other) {
            return vec![self];
        }
        let bits = self.1 + 1;
        let halves = [Self(self.0, bits), Self(self.0 | (1 << (32 - bits)), bits)];
        halves.into_iter().flat_map(|half| half.without(other)).collect()
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.0), self.1)
    }
}

fn mask(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits).unwrap_or(0)
}

/// What to do with traffic to anywhere that no rule names.
pub(super) fn otherwise(fence: &Fence) -> &'static str {
    if fence.deny.is_empty() && !fence.allow.is_empty() { "reject" } else { "allow" }
}

/// How many networks are tried before none is left for us.
const SUBNETS_MAX: u32 = 4_096;

/// The host's address in a network that overlaps none of the host's, out of 10.64.0.0/10: LXD's own choice asks the network
/// around who answers, and where a gateway answers for everybody there is none.
pub(super) fn subnet(name: &str, host: &[(IpAddr, u32)]) -> Option<String> {
    let taken: Vec<Range> = host
        .iter()
        .filter_map(|(address, bits)| match address {
            IpAddr::V4(address) if *bits <= 32 => {
                Some(Range(u32::from(*address) & mask(*bits), *bits))
            }
            _ => None,
        })
        .collect();
    let seed = name.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (0..SUBNETS_MAX).find_map(|step| {
        let number = seed.wrapping_add(step) & 0x3fff;
        let range = Range(u32::from(Ipv4Addr::new(10, 64, 0, 0)) | (number << 8), 24);
        let free = !taken.iter().any(|taken| taken.holds(range) || range.holds(*taken));
        free.then(|| format!("{}/24", Ipv4Addr::from(range.0 | 1)))
    })
}

/// The rules for traffic of instances, given the host's own addresses. A server heeds what refuses before what allows: so
/// what is allowed is taken out of what is denied.
pub(super) fn egress(fence: &Fence, host: &[(IpAddr, u32)]) -> Vec<Rule> {
    let host: Vec<String> = host
        .iter()
        .filter(|(address, _)| address.is_ipv4() && !address.is_loopback())
        .map(|(address, _)| format!("{address}/32"))
        .collect();
    let allowed: Vec<Range> = fence.allow.iter().filter_map(|text| Range::parse(text)).collect();
    let denied = fence.deny.iter().filter_map(|text| Range::parse(text)).flat_map(|denied| {
        allowed.iter().fold(vec![denied], |left, allowed| {
            left.into_iter().flat_map(|left| left.without(*allowed)).collect()
        })
    });
    let denied: Vec<String> = denied.map(|range| range.to_string()).collect();
    let only = if otherwise(fence) == "reject" { fence.allow.as_slice() } else { &[] };
    [
        Rule::new("reject", &host, "the host"),
        Rule::new("reject", &denied, "denylist"),
        Rule::new("allow", only, "allowlist"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_taken_out_of_what_is_denied() {
        let check = |deny: &[&str], allow: &[&str], expected: &[(&str, &str)]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let fence = Fence { deny: owned(deny), allow: owned(allow) };
            let rules = egress(&fence, &[]);
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| (rule.action.as_str(), rule.destination.as_str()))
                .collect();
            assert_eq!(rules, expected);
        };
        check(&["10.0.0.0/8"], &[], &[("reject", "10.0.0.0/8")]);
        check(&["10.0.0.0/8"], &["192.0.2.0/24"], &[("reject", "10.0.0.0/8")]);
        check(&["10.0.0.0/30"], &["10.0.0.2/32"], &[("reject", "10.0.0.0/31,10.0.0.3/32")]);
        check(&["10.1.0.0/16"], &["10.0.0.0/8"], &[]);
        check(&["0.0.0.0/0"], &["128.0.0.0/1", "0.0.0.0/2"], &[("reject", "64.0.0.0/2")]);
        check(&[], &["192.0.2.0/24", "10.0.0.1/32"], &[("allow", "192.0.2.0/24,10.0.0.1/32")]);
        check(&[], &[], &[]);
    }

    #[test]
    fn a_network_of_ours_overlaps_none_of_the_hosts() {
        let host = |texts: &[&str]| -> Vec<(IpAddr, u32)> {
            let parts = texts.iter().map(|text| text.split_once('/').unwrap());
            parts.map(|(address, bits)| (address.parse().unwrap(), bits.parse().unwrap())).collect()
        };
        let first = subnet("dfly0", &host(&["fe80::1/64", "192.0.2.7/24"])).unwrap();
        assert!(first.starts_with("10.") && first.ends_with(".1/24"), "{first}");
        assert_eq!(subnet("dfly0", &[]), Some(first.clone()));
        assert_ne!(subnet("dfly0", &host(&[&first])), Some(first.clone()));
        let whole = first.replace(".1/24", ".77/16");
        assert_ne!(subnet("dfly0", &host(&[&whole])), Some(first));
        assert_eq!(subnet("dfly0", &host(&["10.1.2.3/8"])), None);
    }

    #[test]
    fn the_host_is_kept_out_of_reach() {
        let host = ["10.77.0.1", "127.0.0.1", "fe80::1", "192.0.2.7"];
        let host = host.map(|address| (address.parse().unwrap(), 24));
        let fence = Fence { deny: vec!["10.0.0.0/8".to_owned()], allow: Vec::new() };
        let rules = egress(&fence, &host);
        assert_eq!(rules[0].destination, "10.77.0.1/32,192.0.2.7/32");
        assert_eq!((rules.len(), otherwise(&fence)), (2, "allow"));
        let only = Fence { deny: Vec::new(), allow: vec!["192.0.2.0/24".to_owned()] };
        assert_eq!(otherwise(&only), "reject");
        assert_eq!(egress(&only, &host).last().unwrap().action, "allow");
    }
}
